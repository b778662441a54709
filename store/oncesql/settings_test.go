package oncesql_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

func TestConfigTellsAllItsProblems(t *testing.T) {
	t.Parallel()
	_, err := oncesql.Open(t.Context(), oncesql.Config{Timeout: -1, LockWait: -1, MaxConns: -1})
	says(t, err, "DSN", "Timeout", "LockWait", "MaxConns")
	for _, dsn := range []string{
		"mysql://me:secret@host:port/db", "mysql://me:secret@host/", "mysql://me:secret@host/db?nonsense=%zz",
		"me:secret@tcp(host)/db", "mysql://me:secret@host/db?tls_ca=nowhere",
	} {
		if _, err := oncesql.Open(t.Context(), oncesql.Config{DSN: dsn}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
}

func TestNothingIsCreatedSilently(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		path, lite := strings.CutPrefix(cfg.DSN, "sqlite:")
		_, err := oncesql.Open(t.Context(), cfg)
		if err == nil {
			t.Fatal("a database without tables was opened")
		}
		if !lite {
			says(t, err, "once migrate")
			_, findings, err := oncesql.Examine(t.Context(), cfg)
			ok(t, err)
			says(t, errors.New(strings.Join(findings, "\n")), "once migrate")
		} else if _, err := os.Stat(path); err == nil {
			t.Error("to open a file that is not there made it")
		}
		open(t, migrated(t, cfg))
	})
}

func TestMigrateMayBeRepeatedAndRaced(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := oncesql.Migrate(context.Background(), cfg); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s := open(t, cfg)
		c := newClaim("kept")
		wins(t, s, c)
		migrated(t, cfg)
		if rec, err := s.Load(t.Context(), c.Key); err != nil || rec.Owner != c.Owner {
			t.Errorf("after another migration the record is %v, error %v", rec.State, err)
		}
	})
}

// What lets a server forget is refused, unless it is asked for, and then the store says so.
func TestDangerousSettingsAreRefused(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t, "innodb_flush_log_at_trx_commit = 2", "log-bin = binlog", "sync_binlog = 0")
	cfg := migrated(t, mariadbOn(t, server))
	_, err := oncesql.Open(t.Context(), cfg)
	says(t, err, "innodb_flush_log_at_trx_commit", "sync_binlog")
	g, findings, err := oncesql.Examine(t.Context(), cfg)
	ok(t, err)
	if len(findings) < 2 || g.Power != once.Lost {
		t.Errorf("doctor finds %q, and that power is %v", findings, g.Power)
	}
	cfg.DangerouslyAllowLoss = true
	s := open(t, cfg)
	if g := s.Guarantees(); g.Weakness() == "" {
		t.Error("the store says that nothing can be lost")
	}
	if _, err := once.New(once.Config{Store: s, InDoubt: once.Hold}); err == nil {
		t.Error("Hold was accepted")
	}
}

// What is not committed must not be taken for an answer.
func TestServerThatShowsWhatIsNotCommittedIsRefused(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	name := "tx_isolation"
	if sharedServer(t).MySQL {
		name = "transaction_isolation"
	}
	cfg.DSN += "?" + name + "=%27READ-UNCOMMITTED%27"
	_, err := oncesql.Open(t.Context(), cfg)
	says(t, err, "READ-UNCOMMITTED")
	_, findings, err := oncesql.Examine(t.Context(), cfg)
	ok(t, err)
	says(t, errors.New(strings.Join(findings, "\n")), "READ-UNCOMMITTED")
}

// In some character sets a key could end the text that it is put into, and go on as a statement.
func TestCharacterSetsInWhichKeysCouldBeStatementsAreRefused(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	for charset, safe := range map[string]bool{
		"gbk": false, "sjis": false, "big5": false, "gb2312": false, "cp932": false, "utf8mb4": true, "latin1": true, "ujis": true,
	} {
		changed := cfg
		changed.DSN += "?charset=" + charset
		if !safe {
			_, err := oncesql.Open(t.Context(), changed)
			says(t, err, charset, "charset")
			continue
		}
		s := open(t, changed)
		for _, id := range []string{"\xbf'", "\xbf\\", "\x81'", "\xbf' OR '1", "\x8f\\'", "\x00\x1a\n"} {
			c := newClaim(charset + id)
			wins(t, s, c)
			ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome(id), long))
			rec, err := s.Load(t.Context(), c.Key)
			if err != nil || rec.Owner != c.Owner || !rec.Outcome.Equal(outcome(id)) {
				t.Errorf("%s: %q: the record is %v, %v", charset, id, rec.State, err)
			}
		}
	}
}

// Who asks for settings does not disturb those who use what was found before.
func TestDoctorWhileTheStoreWorks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		s := open(t, migrated(t, cfg))
		asked := make(chan error, 1)
		go func() {
			_, err := s.Doctor(context.Background())
			asked <- err
		}()
		for most := s.MaxOutcome(); ; {
			select {
			case err := <-asked:
				ok(t, err)
				return
			default:
				if got := s.MaxOutcome(); got != most {
					t.Fatalf("outcomes may have %d bytes, and before %d", got, most)
				}
			}
		}
	})
}

// A schema of which somebody has emptied the table of its version is neither made again nor used.
func TestSchemaWithoutVersionIsExplained(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, migrated(t, cfg))
		_, err := b.db.Exec("DELETE FROM once_schema")
		ok(t, err)
		_, err = oncesql.Open(t.Context(), cfg)
		_, findings, examining := oncesql.Examine(t.Context(), cfg)
		ok(t, examining)
		const way = "INSERT INTO once_schema VALUES (1)"
		says(t, err, way)
		says(t, oncesql.Migrate(t.Context(), cfg), way)
		says(t, errors.New(strings.Join(findings, "\n")), way)
		_, err = b.db.Exec(way)
		ok(t, err)
		wins(t, open(t, cfg), newClaim("a"))
	})
}

// Of a migration that fails halfway SQLite keeps nothing, so that it may be repeated.
func TestHalfAMigrationIsUndone(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: strings.TrimPrefix(cfg.DSN, "sqlite:")}).EscapedPath())
	ok(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE TABLE once_records_expires (in_the_way INTEGER)")
	ok(t, err)
	says(t, oncesql.Migrate(t.Context(), cfg), "once_records_expires")
	_, err = db.Exec("DROP TABLE once_records_expires")
	ok(t, err)
	wins(t, open(t, migrated(t, cfg)), newClaim("a"))
}

// MySQL has two ways of its own to forget.
func TestMySQLThatDoesNotSurviveACrashIsRefused(t *testing.T) {
	t.Parallel()
	if !sharedServer(t).MySQL {
		t.Skip("this is MariaDB")
	}
	server := servers.MariaDB(t, "innodb_doublewrite = DETECT_ONLY", "innodb_flush_method = O_DIRECT")
	cfg := migrated(t, mariadbOn(t, server))
	_, err := newBusiness(t, cfg).db.Exec("ALTER INSTANCE DISABLE INNODB REDO_LOG")
	ok(t, err)
	_, err = oncesql.Open(t.Context(), cfg)
	says(t, err, "innodb_doublewrite = DETECT_ONLY", "ENABLE INNODB REDO_LOG")
	g, _, err := oncesql.Examine(t.Context(), cfg)
	ok(t, err)
	says(t, errors.New(strings.Join(g.Notes, "\n")), "innodb_flush_method = O_DIRECT")
	cfg.DangerouslyAllowLoss = true
	_, err = oncesql.Open(t.Context(), cfg)
	says(t, err, "ENABLE INNODB REDO_LOG")
}

// It says first what is wrong, once, and nothing that is nobody's business.
func TestServerThatIsNotReachedIsNamed(t *testing.T) {
	t.Parallel()
	const down = "127.0.0.1:1" // below those that anybody is given, as one that was just left may be
	for dsn, where := range map[string]string{
		"mysql://me:secret@" + down + "/db":          down,
		"mysql://me:secret@h/db?socket=/nowhere/sql": "/nowhere/sql",
	} {
		cfg := oncesql.Config{DSN: dsn}
		_, opening := oncesql.Open(t.Context(), cfg)
		_, _, examining := oncesql.Examine(t.Context(), cfg)
		for _, err := range []error{opening, oncesql.Migrate(t.Context(), cfg), examining} {
			says(t, err, "is the server running there?")
			if _, ok := errors.AsType[*net.OpError](err); !ok {
				t.Errorf("error %#v is not that of the network", err)
			}
			if !strings.HasPrefix(err.Error(), "oncesql: cannot connect to "+where+": dial ") || strings.Contains(err.Error(), "secret") {
				t.Errorf("error is %q", err)
			}
		}
	}
}

func TestServerThatTakesNoWritesIsRefused(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	cfg := migrated(t, mariadbOn(t, server))
	b := newBusiness(t, cfg)
	_, err := b.db.Exec("CREATE USER 'app'@'%' IDENTIFIED BY 'p@ss:word/?'")
	ok(t, err)
	_, err = b.db.Exec("GRANT ALL ON " + cfg.DSN[strings.LastIndex(cfg.DSN, "/")+1:] + ".* TO 'app'@'%'")
	ok(t, err)
	root := cfg
	cfg.DSN = strings.Replace(cfg.DSN, "root@", "app:p%40ss%3aword%2f%3f@", 1)
	s := open(t, cfg) // with a password of odd characters
	wrong := cfg
	wrong.DSN = strings.Replace(root.DSN, "root@", "app:hunter2@", 1)
	_, err = oncesql.Open(t.Context(), wrong)
	says(t, err, "oncesql: cannot connect to ", "; user or password in the DSN is wrong")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong password is quoted: %v", err)
	}
	wrong.DSN = root.DSN + "_nowhere"
	says(t, oncesql.Migrate(t.Context(), wrong), "oncesql: cannot connect to ", "; make the database")
	_, err = b.db.Exec("SET GLOBAL read_only = ON")
	ok(t, err)
	_, err = oncesql.Open(t.Context(), cfg)
	says(t, err, "read_only", "primary")
	// And the store that was open before the server became a replica says what has happened.
	_, err = s.Claim(t.Context(), newClaim("a"))
	says(t, err, "use the primary")
}

func TestEncryptionByTheDSN(t *testing.T) {
	t.Parallel()
	server, ca := servers.MariaDBTLS(t)
	cfg := mariadbOn(t, server)
	cfg.Timeout = 10 * time.Second
	if err := oncesql.Migrate(t.Context(), cfg); err == nil {
		t.Fatal("a server that wants encryption took a plain connection")
	}
	untrusted := cfg
	untrusted.DSN += "?tls=true"
	if err := oncesql.Migrate(t.Context(), untrusted); err == nil {
		t.Fatal("a certificate that nobody vouches for was accepted")
	}
	cfg.DSN += "?tls_ca=" + ca
	wins(t, open(t, migrated(t, cfg)), newClaim("a"))
}

func TestSQLiteFileThatMayNotBeWrittenIsExplained(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may write everything")
	}
	cfg := migrated(t, sqliteConfig(t))
	path := strings.TrimPrefix(cfg.DSN, "sqlite:")
	ok(t, os.Chmod(path, 0o400))
	ok(t, os.Chmod(filepath.Dir(path), 0o500))
	if s, err := oncesql.Open(t.Context(), cfg); err == nil {
		_, err = s.Claim(t.Context(), newClaim("a"))
		says(t, err, "may not be written")
		ok(t, s.Close())
	}
}

// says fails the test unless the error has all of the words.
func says(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want it to say %q", err, word)
		}
	}
}
