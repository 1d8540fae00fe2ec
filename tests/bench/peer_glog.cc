// A writer of scripts/bench-peers with glog and its rotation by size: peer_glog LOG TOLD WRITER LINES LENGTH
#include "peer.h"

#include <glog/logging.h>

int main(int count, char **arguments)
{
    static struct peer peer;
    static char line[PEER_LENGTH_MAX + 128];
    peer_prepare(&peer, count, arguments);
    FLAGS_max_log_size = PEER_ROTATE_AT >> 20;
    FLAGS_log_prefix = false;
    google::SetLogDestination(google::GLOG_INFO, arguments[1]);
    google::SetLogSymlink(google::GLOG_INFO, "");
    google::InitGoogleLogging(arguments[0]);

    peer_wait(&peer);
    for (unsigned number = 1; number <= peer.lines; number++) {
        line[peer_line(&peer, line, number) - 1] = '\0';
        LOG(INFO) << line;
        peer_tell(&peer, number);
    }
    google::ShutdownGoogleLogging();
    peer_done(&peer);
    return 0;
}
