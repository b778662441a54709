-- Ids alone, for streams of so many messages that a record of each would take too much room.

CREATE TABLE once.id_layout (length_ms bigint NOT NULL, buckets integer NOT NULL);
INSERT INTO once.id_layout VALUES (#length, #buckets);

-- Which bucket of time a table holds, as a number counted from 1970. Tables are used in turn.
CREATE TABLE once.id_buckets (slot integer PRIMARY KEY, bucket bigint NOT NULL);
INSERT INTO once.id_buckets SELECT generate_series(0, #tables - 1), -1;

-- The ids that are done: digests of 16 bytes. They come in no order, are never updated, and go all
-- at once, so the pages can be full and there is nothing to vacuum.
CREATE TABLE once.ids_#n (id uuid NOT NULL PRIMARY KEY) WITH (fillfactor = 100);

-- The ids that are being dealt with.
CREATE TABLE once.id_claims (
	until timestamptz NOT NULL,
	id    uuid        NOT NULL PRIMARY KEY,
	owner uuid        NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- Which bucket it is now, by the server's clock.
CREATE FUNCTION once.id_bucket() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT floor(extract(epoch FROM clock_timestamp()) * 1000 / #length)::bigint
$$;

-- Which of the ids are done: in the tables of the window, all of which are asked, since a copy may
-- come in another bucket than its original. One of them may be left out. The plan may be older than
-- what is in the tables, and must not be one for small ones; what it seems to cost then says nothing.
CREATE FUNCTION once.done_ids(asked uuid[], but integer) RETURNS uuid[] LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET jit = off AS $$
DECLARE
	live boolean[];
	done uuid[];
BEGIN
	SELECT array_agg(slot <> but AND bucket >= once.id_bucket() - #buckets ORDER BY slot) INTO live FROM once.id_buckets;
	SELECT array_agg(id) INTO done FROM (
		SELECT NULL::uuid AS id WHERE false
		UNION ALL SELECT id FROM once.ids_#n WHERE live[#n + 1] AND id = ANY (asked)
	) AS found;
	RETURN coalesce(done, '{}');
END $$;

-- Claims ids. Returns for each: 1 claimed, 2 in flight, 3 done.
CREATE FUNCTION once.claim_ids(asked uuid[], who uuid, lease interval) RETURNS smallint[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	done uuid[] := once.done_ids(asked, -1);
	claimed uuid[];
	again uuid[];
BEGIN
	-- In one order, or two batches could wait for each other.
	WITH taken AS (
		INSERT INTO once.id_claims AS c (id, owner, until)
		SELECT id, who, clock_timestamp() + lease
		FROM (SELECT DISTINCT unnest(asked) AS id EXCEPT SELECT unnest(done) ORDER BY id) AS fresh
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE c.until <= clock_timestamp() OR c.owner = who
		RETURNING id
	)
	SELECT array_agg(id) INTO claimed FROM taken;
	-- Some may have been completed between the question and the claim.
	IF claimed IS NOT NULL THEN
		again := once.done_ids(claimed, -1);
		IF cardinality(again) > 0 THEN
			DELETE FROM once.id_claims WHERE id = ANY (again) AND owner = who;
			done := done || again;
		END IF;
	END IF;
	RETURN (
		SELECT coalesce(array_agg(CASE
			WHEN d.id IS NOT NULL THEN 3
			WHEN c.id IS NOT NULL AND a.copy = 1 THEN 1
			ELSE 2 END::smallint ORDER BY a.place), '{}')
		FROM (
			SELECT id, place, row_number() OVER (PARTITION BY id ORDER BY place) AS copy
			FROM unnest(asked) WITH ORDINALITY AS u (id, place)
		) AS a
		LEFT JOIN (SELECT DISTINCT unnest(done) AS id) AS d ON d.id = a.id
		LEFT JOIN unnest(claimed) AS c (id) ON c.id = a.id
	);
END $$;

-- Waits for those who are completing the same ids in the table of an older bucket, which the index
-- of the present one's does not tell of: by adding the ids there, for a moment.
CREATE FUNCTION once.await_ids(asked uuid[], older integer) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	mine uuid[];
BEGIN
	CASE older
		WHEN #n THEN WITH w AS (INSERT INTO once.ids_#n SELECT unnest(asked) ON CONFLICT DO NOTHING RETURNING id) SELECT array_agg(id) INTO mine FROM w; DELETE FROM once.ids_#n WHERE id = ANY (mine);
	END CASE;
END $$;

-- Makes ids done. Returns for each if it was new.
CREATE FUNCTION once.complete_ids(asked uuid[]) RETURNS boolean[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	class CONSTANT integer := (SELECT tableoid FROM once.id_buckets LIMIT 1)::bigint::bit(32)::integer;
	present bigint;
	here integer;
	sorted uuid[];
	added uuid[];
	older uuid[];
BEGIN
	-- Until this transaction ends the lock keeps the table from being used for another bucket, and
	-- lets those in later buckets see that one is open in this. From when it is held nobody can have
	-- looked in vain, unless it is another bucket by now. (To lock the row of the bucket would make a
	-- MultiXact of all who complete at the same time, each time that one comes.)
	LOOP
		present := once.id_bucket();
		here := present % #tables;
		PERFORM pg_advisory_xact_lock_shared(class, here);
		EXIT WHEN once.id_bucket() = present;
	END LOOP;
	PERFORM 1 FROM once.id_buckets WHERE slot = here AND bucket = present;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no table is prepared for the ids of this time' USING ERRCODE = '#state';
	END IF;
	SELECT array_agg(id ORDER BY id) INTO sorted FROM (SELECT DISTINCT unnest(asked) AS id) AS u;
	CASE here
		WHEN #n THEN WITH w AS (INSERT INTO once.ids_#n SELECT unnest(sorted) ON CONFLICT DO NOTHING RETURNING id) SELECT array_agg(id) INTO added FROM w;
	END CASE;
	DELETE FROM once.id_claims WHERE id = ANY (asked);
	-- Exclusive locks are those of others who are looking. That of our own is held for no longer than
	-- it takes to evaluate an expression, in which nothing can interrupt us.
	PERFORM once.await_ids(added, slot) FROM once.id_buckets
	WHERE added IS NOT NULL AND slot <> here AND bucket >= present - #buckets
		AND NOT (pg_try_advisory_lock(class, slot) AND pg_advisory_unlock(class, slot))
		AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND mode = 'ShareLock'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND classid::bigint = class::bit(32)::bigint AND objid::bigint = slot AND pid <> pg_backend_pid());
	-- What was just added is in this bucket's table; those in another one are not new.
	older := once.done_ids(coalesce(added, '{}'), here);
	RETURN (
		SELECT coalesce(array_agg(a.copy = 1 AND f.id IS NOT NULL AND o.id IS NULL ORDER BY a.place), '{}')
		FROM (
			SELECT id, place, row_number() OVER (PARTITION BY id ORDER BY place) AS copy
			FROM unnest(asked) WITH ORDINALITY AS u (id, place)
		) AS a
		LEFT JOIN unnest(added) AS f (id) ON f.id = a.id
		LEFT JOIN (SELECT DISTINCT unnest(older) AS id) AS o ON o.id = a.id
	);
END $$;

-- Prepares the tables of this bucket and of the next, which are those of buckets that are over. A
-- transaction that has completed ids in a table, or asked it, keeps it from being truncated until it ends;
-- those who ask meanwhile wait behind us, so that we must not wait for long.
CREATE FUNCTION once.turn_ids() RETURNS void LANGUAGE plpgsql VOLATILE
SET lock_timeout = '200ms' AS $$
DECLARE
	class CONSTANT integer := (SELECT tableoid FROM once.id_buckets LIMIT 1)::bigint::bit(32)::integer;
	present bigint := once.id_bucket();
BEGIN
	FOR ahead IN 0..1 LOOP
		PERFORM 1 FROM once.id_buckets WHERE slot = (present + ahead) % #tables AND bucket < present + ahead FOR UPDATE;
		IF FOUND THEN
			PERFORM pg_advisory_xact_lock(class, ((present + ahead) % #tables)::integer);
			CASE (present + ahead) % #tables
				WHEN #n THEN TRUNCATE once.ids_#n;
			END CASE;
			UPDATE once.id_buckets SET bucket = present + ahead WHERE slot = (present + ahead) % #tables;
		END IF;
	END LOOP;
	-- What claimants have left that died. Nobody is given less time by that.
	DELETE FROM once.id_claims WHERE until < clock_timestamp() - interval '1 hour';
END $$;
