/**
 * Interop cases: the mote's TCP against the Linux kernel's: half close, resets, slow readers, many connections, goodput at loss.
 */
import {
  type Bench,
  type Case,
  connectFlows,
  expect,
  expectError,
  expectPattern,
  megabytes,
  transfer,
} from './case.ts';
import type { Json, Remote } from './json-lines.ts';
import { sleep, until } from './lab.ts';
import { type Ends, FAR, makePair, NEAR, type Pair } from './pair.ts';
import { findProgram } from './programs.ts';

type Direction = 'near' | 'far';

/** Who dials, who listens, and under which address. */
function roles(pair: Pair, dialler: Direction): { from: Remote; to: Remote; host: string } {
  return dialler === 'near'
    ? { from: pair.near, to: pair.kernel, host: FAR.v4 }
    : { from: pair.kernel, to: pair.near, host: NEAR.v4 };
}

async function halfClose(bench: Bench, dialler: Direction): Promise<string> {
  const pair = await bench.pair();
  const { from, to, host } = roles(pair, dialler);
  const { client, server } = await connectFlows(from, to, host, 7000);
  const first = to.call('receive', { conn: server });
  await from.call('send', { conn: client, bytes: 300_000, seed: 1, end: true });
  expectPattern('before the half close', await first, 1, 300_000);
  // The other direction must stay open: the server answers only now, well after it saw the end.
  await sleep(500);
  const receiving = from.call('receive', { conn: client });
  await to.call('send', { conn: server, bytes: 3_000_000, seed: 2, end: true });
  const got = await receiving;
  expectPattern('after the half close', got, 2, 3_000_000);
  expect(got.isEnded, 'the second end was not seen');
  await Promise.all([from.call('closed', { conn: client }), to.call('closed', { conn: server })]);
  const { connections } = await pair.near.call('connections');
  return `300 kB, FIN, 3 MB back, FIN; ${connections} connections left at the mote, ${await pair.far.evidence()}`;
}

const RESET = ['ERR_CONNECTION_RESET', 'ECONNRESET', 'EPIPE'];
const REFUSED = ['ERR_CONNECTION_REFUSED', 'ECONNREFUSED'];

async function reset(bench: Bench, by: Direction): Promise<string> {
  const pair = await bench.pair();
  const codes: string[] = [];
  for (const dialler of ['near', 'far'] as const) {
    const { from, to, host } = roles(pair, dialler);
    const { client, server } = await connectFlows(from, to, host, dialler === 'near' ? 7001 : 7002);
    const [killer, killed, killedConn, killerConn] =
      by === dialler ? [from, to, server, client] : [to, from, client, server];
    await from.call('send', { conn: client, bytes: 1000, seed: 1 });
    await to.call('receive', { conn: server, bytes: 1000 });
    const reading = killed.call('receive', { conn: killedConn });
    await sleep(100);
    await killer.call('abort', { conn: killerConn });
    codes.push(await expectError('a read when the other side resets', reading, RESET));
  }
  const counts = await Promise.all([pair.near.call('connections'), pair.kernel.call('connections')]);
  expect(
    counts.every(({ connections }) => connections === 0),
    `connections left: ${JSON.stringify(counts)}`,
  );
  return `${codes.join(' and ')}; no connection left on either side, ${await pair.far.evidence()}`;
}

async function refused(bench: Bench): Promise<string> {
  const pair = await bench.pair();
  const codes: string[] = [];
  for (const dialler of ['near', 'far'] as const) {
    const { from, host } = roles(pair, dialler);
    codes.push(await expectError('a dial to a closed port', from.call('dial', { host, port: 9 }), REFUSED));
  }
  return `${codes.join(' and ')}, ${await pair.far.evidence()}`;
}

/** Memory that may grow while a reader stalls: windows and buffers of one connection, and the runtime's own noise. */
const STALL_BYTES = 48e6;

async function slowReader(bench: Bench, reader: Direction): Promise<string> {
  const pair = await bench.pair();
  const { from, to, host } = roles(pair, reader === 'near' ? 'far' : 'near');
  const bytes = 100_000_000;
  const { client, server } = await connectFlows(from, to, host, 7000);
  const before = await pair.near.call('memory');
  const sending = from.call('send', { conn: client, bytes, seed: 3, end: true }, 120_000);
  sending.catch(() => {});
  const stalledAt = await until('the sender stalls', 20_000, async () => {
    const first = (await from.call('progress', { conn: client })).bytes;
    await sleep(1500);
    const second = (await from.call('progress', { conn: client })).bytes;
    return first === second && first > 0 ? first : undefined;
  });
  const during = await pair.near.call('memory');
  expect(stalledAt < STALL_BYTES, `the sender got rid of ${stalledAt} bytes while nobody read`);
  const growth = during.rss - before.rss;
  expect(growth < STALL_BYTES, `the near end grew by ${growth} bytes while nobody read`);
  // A zero window is probed, not given up: nothing moves for some seconds, then the reader comes back.
  await sleep(6000);
  const got = await to.call('receive', { conn: server, pauseMs: 5, pauseBytes: 2_000_000 }, 90_000);
  expectPattern('after the stall', got, 3, bytes);
  await sending;
  return (
    `stalled at ${megabytes(stalledAt)}, memory ${growth < 0 ? '-' : '+'}${megabytes(Math.abs(growth))} at the near end, ` +
    `then all ${megabytes(bytes)} arrived, ${await pair.far.evidence()}`
  );
}

function kilobytes(bytes: number): string {
  return `${bytes < 0 ? '-' : '+'}${Math.abs(Math.round(bytes / 1000))} kB`;
}

/** Less than 700 bytes per connection; the collector alone makes 2 MB of difference from one look to the next. */
const LEAK_BYTES = 2_000_000;

async function churn(bench: Bench, dialler: Direction): Promise<string> {
  const pair = await bench.pair();
  const { from, to, host } = roles(pair, dialler);
  await to.call('echo', { port: 7000 });
  const thousand = async () => {
    const { good, errors, ms } = await from.call('churn', { host, port: 7000, count: 1000, width: 50 }, 60_000);
    expect(good === 1000, `${good} of 1,000 worked: ${JSON.stringify(errors)}`);
    return ms as number;
  };
  // The first thousand bring compiled code and full-grown tables; what leaks would grow with each of the next three.
  await thousand();
  const before = await pair.near.call('memory');
  const times = [await thousand(), await thousand(), await thousand()];
  const left = await until(
    'all connections are gone on both sides',
    90_000,
    async () => {
      const counts = await Promise.all([pair.near.call('connections'), pair.kernel.call('connections')]);
      return counts.every(({ connections }) => connections === 0) ? counts : undefined;
    },
    500,
  );
  // Connections in TIME-WAIT are forgotten by then, on whichever side they were.
  const grown = (now: Json) => now.heapUsed + now.arrayBuffers - before.heapUsed - before.arrayBuffers;
  const atOnce = grown(await pair.near.call('memory'));
  const growth = await until(
    "the near end's memory is what it was before",
    150_000,
    async () => {
      const bytes = grown(await pair.near.call('memory'));
      return bytes < LEAK_BYTES ? bytes : undefined;
    },
    2000,
  );
  const [near, kernel] = left;
  return (
    `three times 1,000 in ${times.map(ms => (ms / 1000).toFixed(1)).join(', ')} s, then ${near!.connections} left here and ${kernel!.connections} there, ` +
    `heap ${kilobytes(atOnce)} at once and ${kilobytes(growth)} in the end, ${await pair.far.evidence()}`
  );
}

/** A TCP source and sink with cubic: the near or far end of the kernel's own measurement. */
const CUBIC = `
import hashlib, socket, sys, time
role, host, port, total = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def cubic(s): s.setsockopt(socket.IPPROTO_TCP, 13, b'cubic')
if role in ('sink', 'source-server'):
    l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); cubic(l); l.bind((host, port)); l.listen()
    print('listening', flush=True); c, _ = l.accept()
else:
    c = socket.socket(); cubic(c); c.connect((host, port))
if role == 'sink':
    n = 0; t = None
    while True:
        d = c.recv(1 << 18)
        if not d: break
        if t is None: t = time.monotonic()
        n += len(d)
    print('received', n, time.monotonic() - t, flush=True); c.close()
else:
    block = bytes(65536); left = total
    while left: left -= c.send(block[:min(left, 65536)])
    c.shutdown(socket.SHUT_WR); c.recv(1); print('sent', flush=True)
`;

const LOSSY = { loss: 0.01, delayMs: 25 } as const;

function lossyPair(bench: Bench, ends: Ends): Promise<Pair> {
  return makePair(bench.lab, ends, { hop: { toNear: LOSSY, toFar: LOSSY, seed: 7 } });
}

async function warm(pair: Pair): Promise<void> {
  await until('a first ping', 30_000, () =>
    pair.near.call('ping', { host: FAR.v4, timeoutMs: 2000 }).catch(() => undefined),
  );
}

/** Kernel to kernel with cubic: goodput in Mbit/s. */
async function kernelGoodput(bench: Bench, pair: Pair, bytes: number, timeoutMs: number): Promise<number> {
  const python = [findProgram('python3')!, '-c', CUBIC];
  const sink = bench.lab.start(pair.farSpace, [...python, 'sink', FAR.v4, '7000', '0'], { name: 'sink' });
  await until('the sink listens', 10_000, () => sink.stdout.includes('listening'));
  const source = [...python, 'source', FAR.v4, '7000', `${bytes}`];
  await bench.lab.run(pair.nearSpace, source, { timeoutMs });
  await sink.ended;
  const [, received, seconds] = /received (\d+) ([\d.]+)/.exec(sink.stdout) ?? [];
  expect(Number(received) === bytes, `the sink says: ${sink.stdout}`);
  return (bytes * 8) / 1e6 / Number(seconds);
}

/** Kernel (cubic) to mote: goodput in Mbit/s. */
async function receivingGoodput(bench: Bench, pair: Pair, bytes: number, timeoutMs: number): Promise<number> {
  const { listener } = await pair.near.call('listen', { port: 7000 });
  const accepted = pair.near.call('accept', { listener });
  const command = [findProgram('python3')!, '-c', CUBIC, 'source', NEAR.v4, '7000', `${bytes}`];
  const source = bench.lab.start(pair.farSpace, command, { name: 'source' });
  const { conn } = await accepted;
  const got = await pair.near.call('receive', { conn }, timeoutMs);
  expect(got.bytes === bytes, `${got.bytes} of ${bytes} bytes arrived`);
  await pair.near.call('closeFlow', { conn });
  await source.ended;
  return (bytes * 8) / 1000 / got.ms;
}

const goodput: Case = {
  name: 'goodput-at-loss',
  title:
    "at 1 % loss and a round trip of 50 ms, 100 MB flow at half of the kernel's own cubic goodput or better, both ways",
  needs: ['python3'],
  isLong: true,
  timeoutMs: 1_500_000,
  run: async bench => {
    const bytes = bench.isQuick ? 5_000_000 : 100_000_000;
    const timeoutMs = 1_400_000;
    const pairs = await Promise.all([
      lossyPair(bench, bench.ends),
      lossyPair(bench, bench.ends),
      lossyPair(bench, 'stock'),
    ]);
    await Promise.all(pairs.map(warm));
    const [sender, receiver, stock] = pairs;
    const [sending, receiving, kernel] = await Promise.all([
      transfer(sender!.near, sender!.kernel, { host: FAR.v4, port: 7000, bytes, seed: 31, timeoutMs }),
      receivingGoodput(bench, receiver!, bytes, timeoutMs),
      kernelGoodput(bench, stock!, bytes, timeoutMs),
    ]);
    const figures =
      `mote to kernel ${sending.toFixed(2)}, kernel to mote ${receiving.toFixed(2)}, ` +
      `kernel to kernel ${kernel.toFixed(2)} Mbit/s (ratios ${(sending / kernel).toFixed(2)} and ${(receiving / kernel).toFixed(2)})`;
    expect(sending >= kernel / 2 && receiving >= kernel / 2, figures);
    return `${megabytes(bytes)}: ${figures}, ${await sender!.far.evidence()}`;
  },
};

/** TCP cases. */
export const tcpCases: readonly Case[] = [
  goodput,
  {
    name: 'tcp-half-close-by-mote',
    title: 'the mote ends its half of a connection and still receives 3 MB from the kernel',
    run: bench => halfClose(bench, 'near'),
  },
  {
    name: 'tcp-half-close-by-kernel',
    title: 'the kernel ends its half of a connection and still receives 3 MB from the mote',
    run: bench => halfClose(bench, 'far'),
  },
  {
    name: 'tcp-reset-by-kernel',
    title: 'a reset by the kernel reaches the reader at the mote, on dialled and accepted connections',
    run: bench => reset(bench, 'far'),
  },
  {
    name: 'tcp-reset-by-mote',
    title: 'a reset by the mote reaches the reader at the kernel, on dialled and accepted connections',
    run: bench => reset(bench, 'near'),
  },
  { name: 'tcp-refused', title: 'a closed port refuses at once, on both sides', run: refused },
  {
    name: 'tcp-slow-reader-mote',
    title: 'while nobody reads at the mote, the kernel stalls, memory stays bounded, and later every byte arrives',
    isLong: true,
    timeoutMs: 120_000,
    run: bench => slowReader(bench, 'near'),
  },
  {
    name: 'tcp-slow-reader-kernel',
    title: 'while nobody reads at the kernel, the mote stalls, memory stays bounded, and later every byte arrives',
    isLong: true,
    timeoutMs: 120_000,
    run: bench => slowReader(bench, 'far'),
  },
  {
    name: 'tcp-churn-by-kernel',
    title: 'the kernel opens and closes 1,000 connections to the mote, and none is left on either side',
    isLong: true,
    timeoutMs: 280_000,
    run: bench => churn(bench, 'far'),
  },
  {
    name: 'tcp-churn-by-mote',
    title: 'the mote opens and closes 1,000 connections to the kernel, and none is left on either side',
    isLong: true,
    timeoutMs: 280_000,
    run: bench => churn(bench, 'near'),
  },
];
