-- Version 1 of the schema of Once.

CREATE SCHEMA IF NOT EXISTS once;

-- Fences of claims. A sequence, unlike a clock, is never set back; CACHE must stay 1, or two
-- sessions would hand out fences in another order than they asked for them.
CREATE SEQUENCE once.fence AS bigint MINVALUE 1 CACHE 1;

-- One row for each operation. Keys, media types and outcomes are any bytes, so none is text.
-- Columns stand in order of their alignment, which saves up to 20 bytes a row.
CREATE TABLE once.records (
	fence         bigint      NOT NULL, -- of the latest claim; from once.fence
	created       timestamptz NOT NULL, -- when the record came to be
	lease_end     timestamptz NOT NULL, -- 'infinity': without end
	expires       timestamptz NOT NULL, -- absent from then on; 'infinity': never
	forget        interval,             -- how long the record is kept in doubt; NULL: for ever
	awaited       bigint      NOT NULL DEFAULT 0, -- fence of the claim whose end somebody waits for
	owner         uuid        NOT NULL, -- of the latest attempt
	attempt       integer     NOT NULL,
	state         smallint    NOT NULL, -- 0: released (absent), 1: claimed, 2: done
	failed        boolean     NOT NULL DEFAULT false, -- the outcome is a final failure
	scope         bytea       NOT NULL,
	id            bytea       NOT NULL,
	fingerprint   bytea,                -- NULL: not compared
	media_type    bytea,
	outcome       bytea,
	CONSTRAINT records_key PRIMARY KEY (scope, id)
) WITH (
	-- A completion writes a new version of the row, with the outcome in it, and the old one is
	-- dead. Vacuum has to give back the room while the table is small, not when a fifth of
	-- millions of rows are dead.
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);

-- For the sweep, which would otherwise read the whole table. Records that are kept for ever
-- are not in it.
CREATE INDEX records_expires ON once.records (expires) WHERE expires < 'infinity';

-- For people. Bytes that are not printable are shown as \ooo.
CREATE VIEW once.operations AS
SELECT encode(scope, 'escape') AS scope,
	encode(id, 'escape') AS id,
	CASE WHEN state = 2 THEN 'done'
		WHEN lease_end > clock_timestamp() THEN 'in-flight'
		ELSE 'in-doubt' END AS state,
	attempt,
	fence,
	owner,
	created,
	CASE WHEN state = 1 THEN lease_end END AS lease_end,
	expires,
	failed,
	encode(media_type, 'escape') AS media_type,
	octet_length(outcome) AS outcome_bytes
FROM once.records
WHERE state <> 0 AND expires > clock_timestamp();

CREATE TABLE once.schema_version (version integer NOT NULL);
INSERT INTO once.schema_version VALUES (1);
