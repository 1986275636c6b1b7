"""What is restored of a backup, by the lines that `pg_restore --list` prints."""

from __future__ import annotations

from oneoff.services.backups.restore_list import without_framework

FRAMEWORK = """\
218; 1259 16401 TABLE public oneoff_runs ada
217; 1259 16390 SEQUENCE public oneoff_outbox_id_seq ada
3400; 0 0 SEQUENCE OWNED BY public oneoff_outbox_id_seq ada
3201; 2604 16415 DEFAULT public oneoff_outbox id ada
3377; 0 16401 TABLE DATA public oneoff_maintenance ada
3420; 0 0 SEQUENCE SET public oneoff_outbox_id_seq ada
3210; 2606 16408 CONSTRAINT public oneoff_runs oneoff_runs_pkey ada
3212; 1259 16409 INDEX public ix_oneoff_runs_open ada
3213; 1259 16410 INDEX public uq_oneoff_batches_open ada
3500; 0 0 ACL public TABLE oneoff_runs ada""".splitlines()
OTHERS = """\
215; 1259 16386 TABLE public item oneoff_app
3376; 0 16386 TABLE DATA public item oneoff_app
3203; 2606 16390 CONSTRAINT public item oneoff item_pkey oneoff_app
3204; 1259 16391 INDEX crm my_oneoff_index ada
3378; 0 16401 TABLE DATA public oneoff_runs ada""".splitlines()


def test_the_tables_of_the_framework_are_left_out_but_for_the_rows_of_some() -> None:
    """An owner whose name begins like them does not matter."""
    assert OTHERS == without_framework([*FRAMEWORK, *OTHERS], ["oneoff_runs"])
