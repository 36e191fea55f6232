/**
 * Interop cases: what travels through the tunnel: ping, HTTP by curl, iperf3, UDP with fragments, and all of it over bad links.
 */
import { createHash } from 'node:crypto';
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, type Case, expect, expectPattern, rate, transfer } from './case.ts';
import type { LinkOptions } from './hop.ts';
import { sleep, until } from './lab.ts';
import { FAR, NEAR, type Pair } from './pair.ts';
import { patternBytes } from './pattern.ts';
import { findProgram } from './programs.ts';

/** The size of a large transfer. */
function large(bench: Bench): number {
  return bench.isQuick ? 10_000_000 : 100_000_000;
}

/** SHA-256 of a file. */
export async function fileHash(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

const pings: Case[] = [
  {
    name: 'ping-of-mote',
    title: "the kernel's ping reaches the mote, IPv4 and IPv6, from 0 to 8,000 bytes (fragments), without loss",
    needs: ['ping'],
    run: async bench => {
      const pair = await bench.pair();
      const lines: string[] = [];
      for (const host of [NEAR.v4, NEAR.v6])
        for (const bytes of [0, 56, 1372, 8000]) {
          const args = ['ping', '-n', '-q', '-c', '20', '-i', '0.02', '-s', `${bytes}`, host];
          const { stdout } = await bench.lab.run(pair.farSpace, args);
          expect(/ 0% packet loss/.test(stdout), `ping of ${host} with ${bytes} bytes: ${stdout}`);
          lines.push(`${bytes} B: ${/= ([\d.]+\/[\d.]+)/.exec(stdout)?.[1] ?? 'received'}`);
        }
      return `160 of 160 answered (min/avg ms: ${lines.join(', ')}), ${await pair.far.evidence()}`;
    },
  },
  {
    name: 'ping-by-mote',
    title: "the mote's ping is answered by the kernel, IPv4 and IPv6, up to a full packet",
    run: async bench => {
      const pair = await bench.pair();
      const times: number[] = [];
      for (const host of [FAR.v4, FAR.v6])
        for (const payloadBytes of [0, 56, 1372])
          for (let i = 0; i < 10; i++) times.push((await pair.near.call('ping', { host, payloadBytes })).ms);
      const sorted = times.slice().sort((a, b) => a - b);
      return `60 of 60 answered, median ${sorted[30]!.toFixed(2)} ms, ${await pair.far.evidence()}`;
    },
  },
];

async function curl(bench: Bench, pair: Pair, args: readonly string[]): Promise<{ mbps: number; stdout: string }> {
  const format = '\n%{http_code} %{size_download} %{size_upload} %{time_total}';
  const command = ['curl', '-sS', '--fail', '-m', '100', '-w', format, ...args];
  const { stdout } = await bench.lab.run(pair.farSpace, command, { timeoutMs: 110_000 });
  const [status, down, up, seconds] = stdout.trim().split('\n').at(-1)!.split(' ').map(Number);
  expect(status === 200, `curl: ${stdout}`);
  return { mbps: (Math.max(down!, up!) * 8) / 1e6 / seconds!, stdout };
}

function curlDownload(version: 'v4' | 'v6'): Case {
  return {
    name: `curl-from-mote-${version}`,
    title: `curl on the kernel side downloads 100 MB from the mote's \`serve\` over IP${version}, hash intact`,
    needs: ['curl'],
    timeoutMs: 120_000,
    run: async bench => {
      const pair = await bench.pair();
      const bytes = large(bench);
      await pair.near.call('serve', { port: 80 });
      const path = join(bench.lab.directory(), 'download');
      const host = version === 'v4' ? NEAR.v4 : `[${NEAR.v6}]`;
      const { mbps } = await curl(bench, pair, ['-o', path, `http://${host}/data?bytes=${bytes}&seed=11`]);
      expectPattern('curl', await fileHash(path), 11, bytes);
      return `${bytes} bytes at ${rate(mbps)}, ${await pair.far.evidence()}`;
    },
  };
}

const https: Case[] = [
  curlDownload('v4'),
  curlDownload('v6'),
  {
    name: 'curl-to-mote',
    title: "curl on the kernel side uploads 100 MB to the mote's `serve`, hash intact",
    needs: ['curl'],
    timeoutMs: 120_000,
    run: async bench => {
      const pair = await bench.pair();
      const bytes = large(bench);
      await pair.near.call('serve', { port: 80 });
      const path = join(bench.lab.directory(), 'upload');
      writeFileSync(path, patternBytes(12, bytes));
      const { mbps, stdout } = await curl(bench, pair, ['-T', path, `http://${NEAR.v4}/`]);
      const answer = JSON.parse(stdout.slice(stdout.indexOf('{'), stdout.indexOf('}') + 1));
      expectPattern('the mote', answer, 12, bytes);
      return `${bytes} bytes at ${rate(mbps)}, ${await pair.far.evidence()}`;
    },
  },
  {
    name: 'fetch-from-kernel',
    title: "the mote's fetch downloads a file of 100 MB from Python's HTTP server behind the peer, hash intact",
    needs: ['python3'],
    timeoutMs: 120_000,
    run: async bench => {
      const pair = await bench.pair();
      const bytes = large(bench);
      const folder = bench.lab.directory();
      writeFileSync(join(folder, 'file'), patternBytes(13, bytes));
      const server = [findProgram('python3')!, '-m', 'http.server', '-d', folder, '-b', '10.66.0.1', '8000'];
      bench.lab.start(pair.farSpace, server, { name: 'http.server' });
      await until('the HTTP server answers', 10_000, () =>
        pair.near.call('fetch', { url: `http://${FAR.v4}:8000/` }).catch(() => undefined),
      );
      const got = await pair.near.call('fetch', { url: `http://${FAR.v4}:8000/file` }, 100_000);
      expect(got.status === 200, `status ${got.status}`);
      expectPattern('fetch', got, 13, bytes);
      return `${bytes} bytes at ${rate((bytes * 8) / 1000 / got.ms)}, ${await pair.far.evidence()}`;
    },
  },
  {
    name: 'fetch-to-kernel',
    title: "the mote's fetch uploads 100 MB to a Node HTTP server behind the peer, hash intact",
    timeoutMs: 120_000,
    run: async bench => {
      const pair = await bench.pair();
      const bytes = large(bench);
      await pair.kernel.call('serve', { port: 8000 });
      const got = await pair.near.call('fetch', { url: `http://${FAR.v4}:8000/`, upload: bytes, seed: 14 }, 100_000);
      expect(got.status === 200, `status ${got.status}`);
      expectPattern('the server', got, 14, bytes);
      return `${bytes} bytes at ${rate((bytes * 8) / 1000 / got.ms)}, ${await pair.far.evidence()}`;
    },
  },
];

const UDP_SIZES = [1, 500, 1392, 1393, 4000, 20_000, 65_000];

async function udpEcho(bench: Bench, by: 'near' | 'far'): Promise<string> {
  const pair = await bench.pair();
  const [server, client] = by === 'near' ? [pair.near, pair.kernel] : [pair.kernel, pair.near];
  const addresses = by === 'near' ? [NEAR.v4, NEAR.v6] : [FAR.v4, FAR.v6];
  await server.call('udpEcho', { port: 7000 });
  const { socket } = await client.call('udp', { port: 0 });
  let datagrams = 0;
  for (const host of addresses) {
    await client.call('ping', { host });
    for (const bytes of UDP_SIZES)
      for (let round = 0; round < 5; round++, datagrams++) {
        const answer = client.call('udpReceive', { socket }, 5000);
        await client.call('udpSend', { socket, host, port: 7000, bytes, seed: datagrams });
        const got = await answer.catch(error => {
          throw new Error(`datagram of ${bytes} bytes to ${host}: ${error.message}`);
        });
        expectPattern(`the echo of ${bytes} bytes from ${host}`, got, datagrams, bytes);
        expect(got.from.port === 7000 && got.from.address === host, `the answer came from ${JSON.stringify(got.from)}`);
      }
  }
  return `${datagrams} datagrams of ${UDP_SIZES.join(', ')} bytes came back intact, ${await pair.far.evidence()}`;
}

const udps: Case[] = [
  {
    name: 'udp-echo-by-mote',
    title: "the mote echoes the kernel's UDP datagrams, IPv4 and IPv6, up to 65,000 bytes in fragments",
    run: bench => udpEcho(bench, 'near'),
  },
  {
    name: 'udp-echo-by-kernel',
    title: "the kernel echoes the mote's UDP datagrams, IPv4 and IPv6, up to 65,000 bytes in fragments",
    run: bench => udpEcho(bench, 'far'),
  },
  {
    name: 'udp-unreachable',
    title: 'a UDP datagram to a closed port is answered with ICMP port unreachable by the mote',
    needs: ['python3'],
    run: async bench => {
      const pair = await bench.pair();
      const script = `
import socket, sys
for family, host in ((socket.AF_INET, '${NEAR.v4}'), (socket.AF_INET6, '${NEAR.v6}')):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.connect((host, 9)); s.send(b'x')
    try: s.recv(10); print('data')
    except ConnectionRefusedError: print('refused')
`;
      const { stdout } = await bench.lab.run(pair.farSpace, [findProgram('python3')!, '-c', script]);
      expect(stdout === 'refused\nrefused\n', `python says: ${stdout}`);
      return `refused over IPv4 and IPv6, ${await pair.far.evidence()}`;
    },
  },
];

async function badLink(bench: Bench, link: LinkOptions, bytes: number): Promise<string> {
  const pair = await bench.pair({ hop: { toNear: link, toFar: link, seed: 42 } });
  await until('a first ping', 30_000, () =>
    pair.near.call('ping', { host: FAR.v4, timeoutMs: 2000 }).catch(() => undefined),
  );
  const both = [
    transfer(pair.near, pair.kernel, { host: FAR.v4, port: 7001, bytes, seed: 21, timeoutMs: 100_000 }),
    transfer(pair.kernel, pair.near, { host: NEAR.v6, port: 7002, bytes, seed: 22, timeoutMs: 100_000 }),
  ];
  const [sent, received] = await Promise.all(both);
  const { toNear, toFar } = await pair.hopStats();
  const total = (name: string) => (toNear[name] ?? 0) + (toFar[name] ?? 0);
  const events = ['lost', 'duplicated', 'reordered', 'overflowed'].filter(name => total(name) > 0);
  for (const [option, event] of [
    ['loss', 'lost'],
    ['duplicate', 'duplicated'],
    ['reorder', 'reordered'],
  ] as const)
    if (link[option] !== undefined) expect(total(event) > 10, `only ${total(event)} datagrams were ${event}`);
  const story = events.map(name => `${total(name)} ${name}`).join(', ');
  return (
    `${bytes} bytes each way at ${rate(sent!)} and ${rate(received!)}; of ${total('datagrams')} datagrams ` +
    `${story === '' ? 'none lost' : story}, ${await pair.far.evidence()}`
  );
}

const badLinks: Case[] = [
  {
    name: 'link-loss',
    title: 'with 2 % of the datagrams lost, transfers arrive whole in both directions at once',
    isLong: true,
    timeoutMs: 120_000,
    run: bench => badLink(bench, { loss: 0.02, delayMs: 3 }, bench.isQuick ? 1e6 : 10e6),
  },
  {
    name: 'link-reordering',
    title: 'with 10 % of the datagrams held back and overtaken, transfers arrive whole in both directions at once',
    isLong: true,
    timeoutMs: 120_000,
    run: bench => badLink(bench, { reorder: 0.1, reorderMs: 6, delayMs: 3 }, bench.isQuick ? 1e6 : 10e6),
  },
  {
    name: 'link-duplication',
    title: 'with 20 % of the datagrams doubled, transfers arrive whole in both directions at once',
    isLong: true,
    timeoutMs: 120_000,
    run: bench => badLink(bench, { duplicate: 0.2, delayMs: 3 }, bench.isQuick ? 1e6 : 10e6),
  },
  {
    name: 'link-everything',
    title: 'over 20 Mbit/s with loss, reordering, duplication and jitter together, transfers arrive whole both ways',
    isLong: true,
    timeoutMs: 120_000,
    run: bench =>
      badLink(
        bench,
        { loss: 0.01, reorder: 0.02, reorderMs: 8, duplicate: 0.02, jitterMs: 4, delayMs: 10, rateMbps: 20 },
        bench.isQuick ? 1e6 : 5e6,
      ),
  },
  {
    name: 'link-many',
    title:
      'over a link with loss, reordering and duplication, 400 short connections open, echo and close in both directions at once',
    isLong: true,
    timeoutMs: 150_000,
    run: async bench => {
      const link = { loss: 0.03, reorder: 0.05, reorderMs: 6, duplicate: 0.05, jitterMs: 3, delayMs: 5 };
      const pair = await bench.pair({ hop: { toNear: link, toFar: link, seed: 5 } });
      const { near, kernel } = pair;
      await until('a first ping', 30_000, () =>
        near.call('ping', { host: FAR.v4, timeoutMs: 2000 }).catch(() => undefined),
      );
      await Promise.all([near.call('echo', { port: 7000 }), kernel.call('echo', { port: 7000 })]);
      const many = { port: 7000, count: 200, width: 40, bytes: 20_000 };
      const both = await Promise.all([
        near.call('churn', { ...many, host: FAR.v4 }, 120_000),
        kernel.call('churn', { ...many, host: NEAR.v6 }, 120_000),
      ]);
      for (const { good, errors } of both) expect(good === 200, `${good} of 200 worked: ${JSON.stringify(errors)}`);
      const counts = () => Promise.all([near.call('connections'), kernel.call('connections')]);
      await until('all connections are gone', 60_000, async () =>
        (await counts()).every(({ connections }) => connections === 0),
      );
      const times = both.map(({ ms }) => (ms / 1000).toFixed(1));
      return `200 by the mote in ${times[0]} s, 200 by the kernel in ${times[1]} s, none left, ${await pair.far.evidence()}`;
    },
  },
  {
    name: 'link-cut',
    title: 'a link that is cut for 8 s in the middle of transfers resumes, and they arrive whole both ways',
    isLong: true,
    timeoutMs: 120_000,
    run: async bench => {
      const link = { delayMs: 2, rateMbps: 40 };
      const pair = await bench.pair({ hop: { toNear: link, toFar: link } });
      await pair.near.call('ping', { host: FAR.v4, timeoutMs: 12_000 });
      const both = Promise.all([
        transfer(pair.near, pair.kernel, { host: FAR.v4, port: 7001, bytes: 20e6, seed: 23, timeoutMs: 90_000 }),
        transfer(pair.kernel, pair.near, { host: NEAR.v4, port: 7002, bytes: 20e6, seed: 24, timeoutMs: 90_000 }),
      ]);
      both.catch(() => {});
      await sleep(1500);
      for (const side of ['a', 'b']) await pair.hop!.call('link', { side, link: { ...link, isCut: true } });
      await sleep(8000);
      for (const side of ['a', 'b']) await pair.hop!.call('link', { side, link });
      const rates = await both;
      return `20 MB each way at ${rates.map(rate).join(' and ')} with the pause, ${await pair.far.evidence()}`;
    },
  },
  {
    name: 'link-small-mtu',
    title: 'a peer whose tunnel has an MTU of 1280 gets transfers whole from a mote that has 1420',
    run: async bench => {
      const pair = await bench.pair();
      await pair.farSpace.ip('link', 'set', pair.far.device, 'mtu', '1280');
      const bytes = bench.isQuick ? 1e6 : 20e6;
      const sent = await transfer(pair.near, pair.kernel, { host: FAR.v4, port: 7001, bytes, seed: 25 });
      const received = await transfer(pair.kernel, pair.near, { host: NEAR.v6, port: 7002, bytes, seed: 26 });
      return `${rate(sent)} and ${rate(received)}, ${await pair.far.evidence()}`;
    },
  },
];

/** Traffic cases. */
export const trafficCases: readonly Case[] = [...pings, ...https, ...udps, ...badLinks];
