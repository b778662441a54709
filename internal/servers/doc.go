// Package servers starts real servers for tests, on free ports of this machine and in temporary
// folders, and stops them when the test ends. Nothing is mocked, and nothing is skipped: a server
// that is not installed fails the test, and the message says how to install it.
//
//	r := servers.Redis(t)                      // one server
//	c := servers.RedisCluster(t)               // three masters, three replicas
//	s := servers.RedisSentinel(t)              // a master, two replicas, three sentinels
//	d := servers.Postgres(t)                   // one server, with Standby for a second
//	m := servers.MariaDB(t)
//	q, err := servers.StartRabbitMQ()          // some seconds: for the tests of a package to share
//	p := servers.NewProxy(t, r.Addr)           // in front of it: loses replies, cuts connections
//
// Every server is a [Process], which can be killed, paused, resumed and started again. Each call
// starts servers of its own, in well under a second for a single one, so that tests share nothing
// and may run in parallel.
//
// Other versions than those that are installed are named by environment variables:
// ONCE_REDIS_SERVER is the path of a redis-server or valkey-server, ONCE_MARIADB_SERVER that of a
// mariadbd, or of MySQL's mysqld, and ONCE_POSTGRES_BIN the folder of PostgreSQL's programs.
// The script versions.sh gets such versions and runs the tests of the stores on them.
//
// The package needs Unix signals. It is for tests only and knows nothing of package once.
package servers
