#!/bin/sh
# Checks what has to be there before Python can do anything: python3 >= 3.11 with venv, a JDK
# >= 17, Maven and psql.  On Debian and Ubuntu it installs what is missing, and says so first.
# Starts no Java, so that it takes no time when all is there.
set -u

has_python() {
    python3 -c 'import sys, venv, ensurepip, lzma; sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null
}

# The major version is in the JDK's `release` file; asking javac itself would take half a second.
has_jdk() {
    javac=$(command -v javac) || return 1
    home=$(dirname "$(dirname "$(readlink -f "$javac")")")
    major=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release" 2>/dev/null)
    if [ -z "$major" ]; then
        major=$("$javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
    fi
    [ "${major:-0}" -ge 17 ]
}

has() { command -v "$1" >/dev/null 2>&1; }

look() {
    missing=""
    has_python || missing="$missing python"
    has_jdk || missing="$missing jdk"
    has mvn || missing="$missing maven"
    has psql || missing="$missing psql"
    has ipcrm || missing="$missing ipcrm"
}

describe() {
    case $1 in
        python) echo "Python 3.11 or newer with venv and lzma, as python3" ;;
        jdk) echo "a JDK 17 or newer (java, javac)" ;;
        maven) echo "Maven (mvn)" ;;
        psql) echo "PostgreSQL's psql" ;;
        ipcrm) echo "ipcrm of util-linux" ;;
    esac
}

packages() {
    case $1 in
        python) echo "python3 python3-venv" ;;
        jdk)
            for name in openjdk-17-jdk-headless openjdk-21-jdk-headless; do
                if apt-cache show "$name" >/dev/null 2>&1; then echo "$name"; return; fi
            done
            echo default-jdk-headless ;;
        maven) echo maven ;;
        psql) echo postgresql-client ;;
        ipcrm) echo util-linux ;;
    esac
}

give_up() {
    for item in $missing; do echo "missing: $(describe "$item")" >&2; done
    exit 1
}

look
[ -z "$missing" ] && exit 0
has apt-get || give_up
if [ "$(id -u)" -eq 0 ]; then as_root=""; elif has sudo; then as_root=sudo; else give_up; fi

for item in $missing; do echo "missing: $(describe "$item")" >&2; done
$as_root apt-get update -qq || give_up
names=""
for item in $missing; do names="$names $(packages "$item")"; done
echo "installing:$names" >&2
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $names >&2 || give_up
look
[ -z "$missing" ] || give_up
