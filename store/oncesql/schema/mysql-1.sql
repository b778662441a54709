-- Version 1 of the schema of Once, for MySQL and MariaDB. Instants and durations are in
-- microseconds; instants count from 1970. Keys, media types and outcomes are any bytes, so none is text:
-- collations would take different keys for the same.

CREATE TABLE once_records (
	scope       VARBINARY(255) NOT NULL,
	id          VARBINARY(512) NOT NULL,
	fence       BIGINT         NOT NULL, -- of the latest claim: the time, or one more than the last
	created     BIGINT         NOT NULL, -- when the record came to be
	lease_end   BIGINT         NOT NULL,
	expires     BIGINT         NOT NULL, -- absent from then on; from 4e18 on: never
	forget      BIGINT         NOT NULL, -- how long the record is kept in doubt; from 4e18 on: for ever
	attempt     BIGINT         NOT NULL,
	state       TINYINT        NOT NULL, -- 0: released (absent), 1: claimed, 2: done
	failed      TINYINT        NOT NULL, -- the outcome is a final failure
	owner       BINARY(16)     NOT NULL, -- of the latest attempt
	fingerprint BINARY(32),              -- NULL: not compared
	media_type  VARBINARY(255),
	outcome     LONGBLOB,
	PRIMARY KEY (scope, id),
	KEY once_records_expires (expires) -- for the sweep
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE once_schema (version INTEGER NOT NULL) ENGINE = InnoDB;
INSERT INTO once_schema VALUES (1);
