/**
 * Real memory of the map decoder, on Node only: what lives at the peak and afterwards while a map message arrives byte
 * by byte, for 300 and for 3,000 peers with 300 kept. Not a test file, since it needs these flags (the compilers of V8
 * allocate in between otherwise):
 *
 *     node --expose-gc --single-threaded --jitless --import tsx test/control/netmap-heap.ts
 *
 * Prints JSON; exit code 1 when the peak of 3,000 is more than a kilobyte above that of 300.
 */
import { frames, node, self } from './map-support.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import { MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';

const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('run with node --expose-gc');
const SAMPLES = 100;

function liveBytes(): number {
  collect!();
  collect!(); // array buffers are swept behind the first
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const message = (count: number) =>
  frames({ Node: self(), Peers: Array.from({ length: count }, (_, i) => node(i + 1)) });
// Made once and kept, so that they are the same before and after.
const messages = { 300: message(300), 3000: message(3000) };

/** The most live bytes above what there was before the decoder, and those that stay. */
function measure(count: 300 | 3000): { peakBytes: number; keptBytes: number } {
  const [first, second] = [messages[300], messages[count]];
  const before = liveBytes();
  const decoder = new MapDecoder(MAP_LIMITS_SMALL);
  decoder.handleBytes(first, 0, first.length);
  decoder.pollEvent();
  let peak = 0;
  const step = Math.ceil(second.length / SAMPLES);
  for (let at = 0; at < second.length; at++) {
    const result = decoder.handleBytes(second, at, at + 1);
    if (result !== 0) throw decoder.error;
    if (at % step === step - 1) peak = Math.max(peak, liveBytes() - before);
  }
  const kept = liveBytes() - before;
  if (decoder.netmap.peers.count !== 300) throw new Error('expected 300 peers');
  return { peakBytes: peak, keptBytes: kept };
}

measure(300); // warms code and caches up
const [few, many] = [measure(300), measure(3000)];
const differenceBytes = many.peakBytes - few.peakBytes;
console.log(JSON.stringify({ node: process.version, few, many, differenceBytes }));
process.exitCode = differenceBytes > 1024 ? 1 : 0;
