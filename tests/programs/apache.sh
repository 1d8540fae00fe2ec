#!/bin/bash
# Apache in its Debian configuration with eight prefork workers, which may not even search the directory of its logs.
source "$(dirname "$0")/../account/lib.sh"
PATH=$PATH:/usr/sbin
source "$account_dir/keepers.sh"
source "$account_dir/web.sh"
need_root
need apache2 setpriv pgrep

log_owner=root log_group=adm log_mode=640 directory_mode=750
logs=(access.log error.log other_vhosts_access.log)
workers=8

# Of Debian's configuration only paths, the port and the processes (prefork, eight of them) are changed.
configure() {
    local etc=$prefix/etc/apache2
    cp -a /etc/apache2 "$prefix/etc"
    sed -i -E "s#/var/(run|lock)/apache2\\\$SUFFIX#$prefix/run#; s#/apache2.pid#/pid#; s#/var/log/apache2\\\$SUFFIX#$directory#" \
        "$etc/envvars"
    rm -f "$etc"/mods-enabled/mpm_* "$etc"/sites-enabled/*
    ln -s ../mods-available/mpm_prefork.load "$etc/mods-enabled"
    ln -s ../sites-available/000-default.conf "$etc/sites-enabled"
    sed -E 's/^(StartServers|MinSpareServers|MaxSpareServers|MaxRequestWorkers) .*/\1 8/' \
        "$etc/mods-available/mpm_prefork.conf" >"$etc/mods-enabled/mpm_prefork.conf"
    echo "Listen 127.0.0.1:$port" >"$etc/ports.conf"
    sed -i "s/\*:80/*:$port/" "$etc/sites-available/000-default.conf"
    echo 'ServerName localhost' >"$etc/conf-enabled/name.conf"
}

# As apachectl: with the variables of Debian's file.
web_server() {
    apache=(bash -c '. "$0/envvars"; exec apache2 -d "$0" "$@"' "$prefix/etc/apache2")
    daemon=("${apache[@]}" -k start)
    command_line=("${daemon[@]}" -D FOREGROUND)
}

reload() {
    shim "${apache[@]}" -k graceful
}

quit() {
    shim "${apache[@]}" -k graceful-stop
}

# Says that it is running already.
start_again() {
    shim "${apache[@]}" -k start
}

run_tests "${web_tests[@]}"
