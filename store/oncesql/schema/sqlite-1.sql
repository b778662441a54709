-- Version 1 of the schema of Once, for SQLite. Instants and durations are in microseconds;
-- instants count from 1970. Keys, media types and outcomes are any bytes, so none is text.

CREATE TABLE once_records (
	scope       BLOB    NOT NULL,
	id          BLOB    NOT NULL,
	fence       INTEGER NOT NULL, -- of the latest claim: the time, or one more than the last
	created     INTEGER NOT NULL, -- when the record came to be
	lease_end   INTEGER NOT NULL,
	expires     INTEGER NOT NULL, -- absent from then on; from 4e18 on: never
	forget      INTEGER NOT NULL, -- how long the record is kept in doubt; from 4e18 on: for ever
	attempt     INTEGER NOT NULL,
	state       INTEGER NOT NULL, -- 0: released (absent), 1: claimed, 2: done
	failed      INTEGER NOT NULL, -- the outcome is a final failure
	owner       BLOB    NOT NULL, -- of the latest attempt
	fingerprint BLOB,             -- NULL: not compared
	media_type  BLOB,
	outcome     BLOB,
	PRIMARY KEY (scope, id)
) STRICT;

-- For the sweep. Records that are kept for ever are not in it.
CREATE INDEX once_records_expires ON once_records (expires) WHERE expires < 4000000000000000000;

CREATE TABLE once_schema (version INTEGER NOT NULL) STRICT;
INSERT INTO once_schema VALUES (1);
