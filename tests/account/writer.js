// Writes the numbered lines of line.h with Node.js: writer.js WAY LOG WRITER COUNT [RATE]
'use strict';
const fs = require('fs');

const [way, log, writerText, countText, rateText] = process.argv.slice(2);
const writer = Number(writerText);
const count = Number(countText);
const rate = Number(rateText || 0);
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'.repeat(6);

function makeLine(number) {
  const length = 20 + ((37 * number + 11 * writer) % 281);
  const offset = (7 * number + 13 * writer) % 64;
  const sum = (7919 * number + 10473 * writer + 31 * length + offset) % 65521;
  return `w=${writer} n=${number} len=${length} ${letters.substr(offset, length)} sum=${sum}`;
}

const ways = {
  // A stream: chunks go out one after the other from a thread pool, joined when they come fast.
  stream() {
    const stream = fs.createWriteStream(log, { flags: 'a' });
    return { put: (line) => stream.write(line + '\n'), end: () => stream.end() };
  },
  append() {
    return { put: (line) => fs.appendFileSync(log, line + '\n'), end: () => {} };
  },
  sync() {
    const fd = fs.openSync(log, 'a');
    return { put: (line) => fs.writeSync(fd, line + '\n'), end: () => fs.closeSync(fd) };
  },
  // Standard output, which the caller has redirected.
  console() {
    return { put: (line) => console.log(line), end: () => {} };
  },
};

const output = ways[way]();
let number = 1;
function writeSome() {
  const burst = Math.min(count, number + 15);
  for (; number <= burst; number++) output.put(makeLine(number));
  if (number > count) output.end();
  else if (rate > 0) setTimeout(writeSome, 16000 / rate);
  else setImmediate(writeSome);
}
writeSome();
