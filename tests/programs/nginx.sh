#!/bin/bash
# nginx with four workers under load: every request is in the access log once, with the line that the client sent.
source "$(dirname "$0")/../account/lib.sh"
need nginx setpriv pgrep

# Writes a configuration for a server on a Unix socket with its access log in $directory. The log of errors is no log of
# the library's here: who writes to it when he is stopped (http_client.py) would have its lock.
configure() { # USER [BUFFER]
    local user=
    ((EUID == 0)) && user="user $1;"
    mkdir "$work/server.$BASHPID"
    server_directory=$work/server.$BASHPID
    chmod 755 "$work" "$server_directory"
    socket=$server_directory/socket
    cat >"$server_directory/nginx.conf" <<END
daemon off;
$user
worker_processes 4;
pid $server_directory/pid;
error_log $server_directory/error.log info;
events { worker_connections 64; }
http {
    log_format line escape=none '\$http_x_line';
    log_format worker '\$pid';
    access_log $log line${2:+ $2};
    access_log $server_directory/workers worker;
    client_body_temp_path $server_directory/body;
    proxy_temp_path $server_directory/proxy;
    fastcgi_temp_path $server_directory/fastcgi;
    uwsgi_temp_path $server_directory/uwsgi;
    scgi_temp_path $server_directory/scgi;
    keepalive_requests 1000000;
    server {
        listen unix:$socket;
        location / { return 204; }
    }
}
END
}

serve() { # CONNECTIONS COUNT
    start_server nginx -e stderr -p "$server_directory" -c "$server_directory/nginx.conf"
    wait_until test -S "$socket"
    wait_until has_all_workers
    "$python" "$account_dir/http_client.py" "$socket" "$1" 1 "$2" "$server_directory/workers" "${workers[@]}"
    stop_server "$server"
}

has_all_workers() {
    [ -s "$server_directory/pid" ] || return
    mapfile -t workers < <(pgrep -P "$(<"$server_directory/pid")")
    ((${#workers[@]} == 4))
}

all_workers_served() {
    diff <(printf '%s\n' "${workers[@]}" | sort) <(sort -u "$server_directory/workers")
}

rotation_keeps_every_request_of_four_workers() {
    new_log max_bytes=64K
    configure root
    serve 8 1000
    all_workers_served
    account --min-rotations 20 --max-bytes 65536 {1,2,3,4,5,6,7,8}=1000
}

rotation_keeps_every_request_of_workers_that_gave_up_privileges() {
    if ((EUID != 0)); then
        echo "not root: this server has no privileges to give up"
        return 0
    fi
    new_log max_bytes=64K
    configure 'nobody nogroup'
    chown nobody:nogroup "$directory"
    setpriv --reuid=nobody --regid=nogroup --clear-groups touch "$log"
    serve 8 1000
    all_workers_served
    account --min-rotations 20 --max-bytes 65536 {1,2,3,4,5,6,7,8}=1000
}

rotation_keeps_every_request_of_workers_with_buffered_logs() {
    new_log max_bytes=64K
    configure root buffer=16k
    serve 8 1000
    all_workers_served
    account --min-rotations 20 --max-bytes 65536 {1,2,3,4,5,6,7,8}=1000
}

requests_and_the_programs_beside_the_server_share_one_log() {
    new_log max_bytes=64K
    configure root
    start "$writer" fprintf "$log" 100 3000
    start "$python" "$account_dir/writer.py" logging "$log" 101 3000
    serve 4 1000
    finish
    account --min-rotations 20 --max-bytes 65536 {1,2,3,4}=1000 100=3000 101=3000
}

the_server_shows_the_same_with_and_without_the_shim() {
    local kind
    for kind in plain shim; do
        directory=$work/$kind.$BASHPID
        mkdir "$directory"
        log=$directory/app.log
        rules=$directory/app.log,max_bytes=4K
        (
            [ "$kind" = shim ] || library=
            configure root
            status=0
            serve 2 100 >/dev/null 2>"$directory/errors" || status=$?
            echo "$status" >"$directory/status"
            rm -rf "$server_directory"
        )
        [ "$kind" = plain ] || settle_log
        "$checker" --cat "$log" | sort >"$directory/history"
    done
    local file
    for file in errors status history; do
        diff "$work/plain.$BASHPID/$file" "$work/shim.$BASHPID/$file"
    done
}

run_tests \
    rotation_keeps_every_request_of_four_workers \
    rotation_keeps_every_request_of_workers_that_gave_up_privileges \
    rotation_keeps_every_request_of_workers_with_buffered_logs \
    requests_and_the_programs_beside_the_server_share_one_log \
    the_server_shows_the_same_with_and_without_the_shim
