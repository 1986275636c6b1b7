"""The one table of the project."""

from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=100)
    field_002 = models.IntegerField(null=True)
    field_003 = models.IntegerField(null=True)
    field_004 = models.IntegerField(null=True)
    field_005 = models.IntegerField(null=True)
    field_006 = models.IntegerField(null=True)
    field_007 = models.IntegerField(null=True)
    field_008 = models.IntegerField(null=True)
    field_009 = models.IntegerField(null=True)
    field_010 = models.IntegerField(null=True)

    class Meta:
        db_table = "item"
