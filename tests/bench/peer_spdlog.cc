// A writer of scripts/bench-peers with spdlog's rotating file: peer_spdlog LOG TOLD WRITER LINES LENGTH
#include "peer.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

int main(int count, char **arguments)
{
    static struct peer peer;
    static char line[PEER_LENGTH_MAX + 128];
    const size_t files_most = 1000;
    peer_prepare(&peer, count, arguments);
    auto log = spdlog::rotating_logger_mt("log", arguments[1], PEER_ROTATE_AT, files_most);
    log->set_pattern("%v");

    peer_wait(&peer);
    for (unsigned number = 1; number <= peer.lines; number++) {
        size_t size = peer_line(&peer, line, number);
        log->info(spdlog::string_view_t(line, size - 1));
        peer_tell(&peer, number);
    }
    log.reset();
    spdlog::shutdown();
    peer_done(&peer);
    return 0;
}
