"""A table with a column of each type that exports and imports must preserve exactly."""

from __future__ import annotations

POSTGRESQL = r"""
CREATE TYPE mood AS ENUM ('happy', 'so, so', '=sad');
CREATE TABLE kinds (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    a_bool boolean, a_small smallint, a_big bigint, a_float double precision, a_real real,
    a_number numeric(12, 3), any_number numeric, a_text text, a_char char(4), some_bytes bytea,
    a_date date, a_time time, a_timestamp timestamp, an_instant timestamptz, a_while interval,
    a_json json, a_jsonb jsonb, an_id uuid, a_mood mood, some_texts text[], some_numbers int[],
    an_address inet, a_range int4range,
    doubled bigint GENERATED ALWAYS AS (a_small::bigint * 2) STORED
);
INSERT INTO kinds (a_bool, a_small, a_big, a_float, a_real, a_number, any_number, a_text, a_char,
    some_bytes, a_date, a_time, a_timestamp, an_instant, a_while, a_json, a_jsonb, an_id, a_mood,
    some_texts, some_numbers, an_address, a_range)
VALUES
(true, -1, 9223372036854775807, 0.1, 3.4e38, 1.500, 12345678901234567890.123456789,
    'plain', 'ab', '\x00ff01', '2026-01-31', '23:59:59.999999', '2026-01-31 09:30:00.5',
    '2026-01-31 09:30:00+05', '1 year 2 mons -3 days 04:05:06.7', '{"a" :
 [1, 2.50]}', '{"b": "\u00fc \" \\ \n"}', '6f1de1d2-0ddc-4f9d-8f5e-0f6c3a1f0c11', 'so, so',
    ARRAY['a', NULL, 'NULL', '', 'with "quotes", and \', E'line\nend'], '{{1,2},{3,4}}',
    '10.0.0.1/8', '[1,5)'),
(false, 32767, -9223372036854775808, 'NaN', 'Infinity', -0.001, 'NaN',
    E'line\nend\r\n"quoted", comma; back\\slash \t \x01\x01\x02 \\. ''s', 'é', '', 'infinity',
    '00:00:00', '-infinity', 'infinity', '-1 day', 'null', '[]', NULL, '=sad', '{}', '{}', '::1',
    'empty'),
(NULL, NULL, NULL, '-Infinity', 1e-45, NULL, NULL, '', '', NULL, '0044-03-15 BC', NULL,
    '0001-01-01 00:00:00 BC', '1900-01-01 00:00:00+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL),
(NULL, 0, 0, 1e15, 123456.7, 0, 0.000, '\.', NULL, NULL, NULL, NULL, NULL, NULL, '00:00:00',
    '"\u0001"', '1e400', NULL, NULL, '{"\\."}', '[0:1]={7,8}', NULL, '(,)'),
(NULL, NULL, NULL, NULL, NULL, NULL, NULL, U&'\+01F600 \FEFF ', NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
"""Statements for psql."""

SQLITE = r"""
CREATE TABLE kinds (
    id integer PRIMARY KEY, a_bool boolean, a_big bigint, a_float double precision,
    a_number numeric(12, 3), a_text text, some_bytes blob, a_date date, a_time time,
    a_timestamp datetime, a_json json, doubled bigint GENERATED ALWAYS AS (a_big * 2) STORED
);
INSERT INTO kinds (a_bool, a_big, a_float, a_number, a_text, some_bytes, a_date, a_time,
    a_timestamp, a_json)
VALUES
(1, 4611686018427387903, 0.1, 1.5, 'plain', x'00ff01', '2026-01-31', '23:59:59.999999',
    '2026-01-31 09:30:00.500000', '{"a": [1, 2.5]}'),
(0, -1, 9e999, -0.001, 'line' || char(10) || 'end' || char(13) || '"quoted", comma', x'',
    '2026-01-31', '00:00:00.000000', '2026-01-31 09:30:00', 'null'),
(NULL, NULL, 1e15, NULL, '', NULL, NULL, NULL, NULL, NULL),
(NULL, 'no number, "really"', 'nor this', 'x', 5, 'text', 'soon', '', NULL, '{broken');
"""
"""Statements for SQLite. The last row has values that SQLite accepts in any column."""
