// A writer of scripts/bench-peers with log4cplus's rolling file and its lock file, which is how several processes are
// to share one: peer_log4cplus LOG TOLD WRITER LINES LENGTH
#include "peer.h"

#include <log4cplus/fileappender.h>
#include <log4cplus/helpers/property.h>
#include <log4cplus/initializer.h>
#include <log4cplus/logger.h>
#include <log4cplus/loggingmacros.h>

int main(int count, char **arguments)
{
    static struct peer peer;
    static char line[PEER_LENGTH_MAX + 128];
    peer_prepare(&peer, count, arguments);
    {
        log4cplus::Initializer initializer;
        log4cplus::helpers::Properties properties;
        std::string path = arguments[1];
        properties.setProperty("File", path);
        properties.setProperty("Append", "true");
        properties.setProperty("MaxFileSize", "10MB");
        properties.setProperty("MaxBackupIndex", "100");
        properties.setProperty("UseLockFile", "true");
        properties.setProperty("LockFile", path + ".lock");
        properties.setProperty("layout", "log4cplus::PatternLayout");
        properties.setProperty("layout.ConversionPattern", "%m%n");
        auto log = log4cplus::Logger::getInstance("log");
        log.addAppender(log4cplus::SharedAppenderPtr(new log4cplus::RollingFileAppender(properties)));

        peer_wait(&peer);
        for (unsigned number = 1; number <= peer.lines; number++) {
            line[peer_line(&peer, line, number) - 1] = '\0';
            LOG4CPLUS_INFO(log, line);
            peer_tell(&peer, number);
        }
    }
    peer_done(&peer);
    return 0;
}
