#!/bin/bash
# nginx in its Debian configuration: a root master, workers of www-data, logs in a directory that only root may change.
source "$(dirname "$0")/../account/lib.sh"
PATH=$PATH:/usr/sbin
source "$account_dir/keepers.sh"
source "$account_dir/web.sh"
need_root
need nginx setpriv pgrep

log_owner=www-data log_group=adm log_mode=640 directory_mode=755
logs=(access.log error.log)
workers=4

# Of Debian's configuration only paths, the port and the number of workers are changed.
configure() {
    cp -a /etc/nginx "$prefix/etc"
    local files
    mapfile -t files < <(find -L "$prefix/etc/nginx" -type f)
    sed -i --follow-symlinks -E "s#/etc/nginx/#$prefix/etc/nginx/#; s#/var/log/nginx/#$directory/#; s#/run/nginx.pid#$prefix/run/pid#
        s#^worker_processes .*#worker_processes $workers;#" "$prefix/etc/nginx/nginx.conf"
    cat /etc/nginx/sites-available/default >"$prefix/default"
    rm -f "$prefix/etc/nginx/sites-enabled/"* "$prefix/etc/nginx/conf.d/"*
    sed -E "s#listen 80 #listen 127.0.0.1:$port #; /listen \[::\]/d" "$prefix/default" \
        >"$prefix/etc/nginx/sites-enabled/default"
    for place in client_body proxy fastcgi uwsgi scgi; do
        echo "${place}_temp_path $prefix/run/$place;"
    done >"$prefix/etc/nginx/conf.d/paths.conf"
}

web_server() {
    nginx=(nginx -e "$directory/error.log" -c "$prefix/etc/nginx/nginx.conf")
    daemon=("${nginx[@]}")
    command_line=("${nginx[@]}" -g 'daemon off;')
}

reload() {
    shim "${nginx[@]}" -s reload
}

quit() {
    shim "${nginx[@]}" -s quit
}

# Fails: the port is in use.
start_again() {
    shim "${nginx[@]}" -g 'daemon off;' 2>/dev/null
}

run_tests "${web_tests[@]}"
