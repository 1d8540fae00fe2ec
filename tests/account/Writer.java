import java.io.BufferedWriter;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.FileWriter;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Writes the numbered lines of line.h with Java: Writer WAY LOG WRITER COUNT [RATE] */
public class Writer {
    private static final String LETTERS =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-".repeat(6);

    /** One way of writing a line, which comes with its newline. */
    private interface Output extends AutoCloseable {
        void put(String line) throws IOException;

        @Override
        default void close() throws IOException {}
    }

    private static String makeLine(int writer, int number) {
        int length = 20 + (37 * number + 11 * writer) % 281;
        int offset = (7 * number + 13 * writer) % 64;
        long sum = (7919L * number + 10473L * writer + 31L * length + offset) % 65521;
        return "w=" + writer + " n=" + number + " len=" + length + " " + LETTERS.substring(offset, offset + length)
            + " sum=" + sum + "\n";
    }

    /** Blocks of 8 KiB that end in mid-line. */
    private static Output buffered(String log) throws IOException {
        BufferedWriter writer = new BufferedWriter(new FileWriter(log, true));
        return new Output() {
            public void put(String line) throws IOException {
                writer.write(line);
            }

            public void close() throws IOException {
                writer.close();
            }
        };
    }

    private static Output stream(String log) throws IOException {
        FileOutputStream stream = new FileOutputStream(log, true);
        return new Output() {
            public void put(String line) throws IOException {
                stream.write(line.getBytes(StandardCharsets.US_ASCII));
            }

            public void close() throws IOException {
                stream.close();
            }
        };
    }

    private static Output channel(String log) throws IOException {
        FileChannel channel = FileChannel.open(Path.of(log), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return new Output() {
            public void put(String line) throws IOException {
                channel.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.US_ASCII)));
            }

            public void close() throws IOException {
                channel.close();
            }
        };
    }

    private static Output open(String way, String log) throws IOException {
        switch (way) {
        case "buffered":
            return buffered(log);
        case "stream":
            return stream(log);
        case "channel":
            return channel(log);
        case "files":
            return line -> Files.writeString(Path.of(log), line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        case "out":
            return line -> System.out.print(line);
        case "printstream":
            PrintStream blocks = new PrintStream(new FileOutputStream(FileDescriptor.out), false);
            return line -> blocks.print(line);
        default:
            throw new IllegalArgumentException(way);
        }
    }

    public static void main(String[] arguments) throws Exception {
        int writer = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        int rate = arguments.length > 4 ? Integer.parseInt(arguments[4]) : 0;
        try (Output output = open(arguments[0], arguments[1])) {
            for (int number = 1; number <= count; number++) {
                output.put(makeLine(writer, number));
                if (rate > 0 && number % 16 == 0)
                    Thread.sleep(16000 / rate);
            }
        }
    }
}
