/**
 * Interop cases: the command `motenet wg` as a user runs it, with curl, iperf3 and the kernel's sockets around it.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { type Bench, type Case, expect, expectPattern, rate } from './case.ts';
import { TSX } from './json-lines.ts';
import { type Finished, type Program, sleep, until } from './lab.ts';
import { FAR, makePair, NEAR, type Pair } from './pair.ts';
import { findProgram } from './programs.ts';
import { publicKeyOf } from './stock.ts';
import { fileHash } from './wireguard-traffic.ts';

const MAIN = fileURLToPath(new URL('../../targets/cli/main.ts', import.meta.url));
const MOTENET = Object.freeze([process.execPath, '--import', TSX, MAIN]);

/** A pair whose near end is the command line program; `pair.near` is a plain program beside it in the same namespace. */
async function startCli(
  bench: Bench,
  args: readonly string[],
  edit = (text: string) => text,
): Promise<{ pair: Pair; cli: Program }> {
  const pair = await makePair(bench.lab, 'none', {});
  const file = join(bench.lab.directory(), 'near.conf');
  writeFileSync(file, edit(pair.configFile()), { mode: 0o600 });
  const cli = bench.lab.start(pair.nearSpace, [...MOTENET, 'wg', file, ...args], { name: 'motenet' });
  await until('a line that starts with `ready`', 15_000, () => {
    expect(cli.isRunning, `motenet ended: ${cli.tail()}`);
    return /^(ready|\{.*"ready")/m.test(cli.stdout);
  });
  return { pair, cli };
}

/** SIGINT must end the program with code 0, soon. */
async function interrupt(cli: Program): Promise<string> {
  const startMs = performance.now();
  cli.signal('SIGINT');
  const timer = setTimeout(() => cli.signal('SIGKILL'), 8000);
  const { code, signal } = await cli.ended;
  clearTimeout(timer);
  expect(code === 0, `SIGINT ended it with ${code ?? signal}: ${cli.tail()}`);
  return `SIGINT: exit 0 after ${Math.round(performance.now() - startMs)} ms`;
}

async function curlInto(
  bench: Bench,
  space: Pair['nearSpace'],
  args: readonly string[],
): Promise<{ mbps: number; path: string }> {
  const path = join(bench.lab.directory(), 'download');
  const command = ['curl', '-sS', '--fail', '-m', '100', '-w', '%{size_download} %{time_total}', '-o', path, ...args];
  const { stdout } = await bench.lab.run(space, command, { timeoutMs: 110_000 });
  const [size, seconds] = stdout.trim().split(' ').map(Number);
  return { mbps: (size! * 8) / 1e6 / seconds!, path };
}

async function expose(bench: Bench): Promise<string> {
  const { pair, cli } = await startCli(bench, ['--expose', '80=127.0.0.1:8080']);
  const bytes = bench.isQuick ? 10e6 : 100e6;
  await pair.near.call('serve', { port: 8080 });
  const lines: string[] = [];
  for (const host of [NEAR.v4, `[${NEAR.v6}]`]) {
    const { mbps, path } = await curlInto(bench, pair.farSpace, [`http://${host}/data?bytes=${bytes}&seed=3`]);
    expectPattern('curl', await fileHash(path), 3, bytes);
    lines.push(rate(mbps));
  }
  const evidence = await pair.far.evidence();
  return `${bytes} bytes at ${lines.join(' and ')}, ${await interrupt(cli)}, ${evidence}`;
}

async function exposeUdp(bench: Bench): Promise<string> {
  const { pair, cli } = await startCli(bench, ['--expose', '7000=127.0.0.1:7000/udp']);
  await pair.near.call('udpEcho', { port: 7000 });
  const sizes = [1, 1200, 8000];
  // Two sockets at once: their answers must not be mixed up.
  const sockets = [await pair.kernel.call('udp', {}), await pair.kernel.call('udp', {})];
  for (const [index, { socket }] of sockets.entries())
    for (const bytes of sizes) {
      const answer = pair.kernel.call('udpReceive', { socket }, 5000);
      await pair.kernel.call('udpSend', { socket, host: NEAR.v4, port: 7000, bytes, seed: bytes + index });
      expectPattern(`the echo of ${bytes} bytes`, await answer, bytes + index, bytes);
    }
  return `${sizes.join(', ')} bytes from two sockets came back, ${await interrupt(cli)}, ${await pair.far.evidence()}`;
}

async function forward(bench: Bench): Promise<string> {
  const args = ['--forward', `9000=${FAR.v4}:8000`, '--forward', `127.0.0.1:9001=[${FAR.v6}]:8000`];
  const { pair, cli } = await startCli(bench, args);
  const bytes = bench.isQuick ? 10e6 : 100e6;
  await pair.kernel.call('serve', { port: 8000 });
  const lines: string[] = [];
  for (const port of [9000, 9001]) {
    const url = `http://127.0.0.1:${port}/data?bytes=${bytes}&seed=4`;
    const { mbps, path } = await curlInto(bench, pair.nearSpace, [url]);
    expectPattern('curl', await fileHash(path), 4, bytes);
    lines.push(rate(mbps));
  }
  return `${bytes} bytes at ${lines.join(' and ')}, ${await interrupt(cli)}, ${await pair.far.evidence()}`;
}

/** SOCKS5 by hand (RFC 1928): UDP ASSOCIATE, one datagram there and back. */
const SOCKS_UDP = `
import socket, struct, sys
control = socket.create_connection(('127.0.0.1', 1080), 5)
control.sendall(b'\\x05\\x01\\x00'); assert control.recv(2) == b'\\x05\\x00'
control.sendall(b'\\x05\\x03\\x00\\x01' + bytes(6))
reply = control.recv(300); assert reply[:2] == b'\\x05\\x00', reply
port = struct.unpack('>H', reply[-2:])[0]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
head = b'\\x00\\x00\\x00\\x01' + socket.inet_aton(sys.argv[1]) + struct.pack('>H', int(sys.argv[2]))
for size in (1, 1000, 6000):
    s.sendto(head + b'u' * size, ('127.0.0.1', port)); data, _ = s.recvfrom(65535)
    assert data == head + b'u' * size, len(data)
print('udp ok')
`;

async function socks(bench: Bench): Promise<string> {
  const { pair, cli } = await startCli(bench, ['--socks', '1080']);
  const bytes = bench.isQuick ? 5e6 : 50e6;
  await pair.kernel.call('serve', { port: 8000 });
  await pair.kernel.call('udpEcho', { port: 7000 });
  const url = `http://${FAR.v4}:8000/data?bytes=${bytes}&seed=5`;
  const { mbps, path } = await curlInto(bench, pair.nearSpace, ['--socks5-hostname', '127.0.0.1:1080', url]);
  expectPattern('curl', await fileHash(path), 5, bytes);
  const refused = await bench.lab.run(
    pair.nearSpace,
    ['curl', '-sS', '-m', '10', '--socks5-hostname', '127.0.0.1:1080', `http://${FAR.v4}:9/`],
    { mayFail: true },
  );
  expect(
    refused.code === 7 || refused.code === 97,
    `curl to a closed port exits with ${refused.code}: ${refused.stderr}`,
  );
  const udp = await bench.lab.run(pair.nearSpace, [findProgram('python3')!, '-c', SOCKS_UDP, FAR.v4, '7000'], {
    mayFail: true,
  });
  expect(udp.stdout.includes('udp ok'), `UDP ASSOCIATE: ${udp.stderr}`);
  return `CONNECT ${bytes} bytes at ${rate(mbps)}, UDP ASSOCIATE works, ${await interrupt(cli)}, ${await pair.far.evidence()}`;
}

async function iperf(bench: Bench): Promise<string> {
  const { pair, cli } = await startCli(bench, [
    '--expose',
    '5201=127.0.0.1:5201',
    '--expose',
    '5201=127.0.0.1:5201/udp',
  ]);
  bench.lab.start(pair.nearSpace, ['iperf3', '-s', '-B', '127.0.0.1'], { name: 'iperf3' });
  await sleep(500);
  const seconds = bench.isQuick ? 2 : 5;
  const measure = async (...args: string[]) => {
    const command = ['iperf3', '-c', NEAR.v4, '-t', `${seconds}`, '-J', ...args];
    const { stdout } = await bench.lab.run(pair.farSpace, command, { timeoutMs: 30_000 });
    return JSON.parse(stdout).end;
  };
  const there = await measure('-C', 'cubic');
  const back = await measure('-R', '-C', 'cubic');
  const udp = await measure('-u', '-b', '20M', '-l', '1200');
  const lost = udp.sum.lost_percent;
  expect(lost < 5, `iperf3 -u at 20 Mbit/s loses ${lost} %`);
  const figures = [there, back].map(end => end.sum_received.bits_per_second / 1e6);
  expect(
    figures.every(mbps => mbps > 1),
    `iperf3: ${figures}`,
  );
  return (
    `kernel to mote ${rate(figures[0]!)}, -R ${rate(figures[1]!)}, UDP at 20 Mbit/s loses ${lost.toFixed(2)} %, ` +
    `${await interrupt(cli)}, ${await pair.far.evidence()}`
  );
}

async function jsonEvents(bench: Bench): Promise<string> {
  const rootKeys = 'Table = off\nPostUp = touch /tmp/never\nSaveConfig = true\n';
  const edit = (text: string) => text.replace('[Peer]', `${rootKeys}[Peer]`);
  const { pair, cli } = await startCli(bench, ['--expose', '80=127.0.0.1:8080', '--json'], edit);
  await pair.kernel.call('ping', { host: NEAR.v4 });
  await until('a handshake event', 5000, () => /"handshake"/.test(cli.stdout));
  const evidence = await pair.far.evidence();
  const end = await interrupt(cli);
  const lines = cli.stdout.trim().split('\n');
  for (const line of lines) expect(line.startsWith('{') && JSON.parse(line) !== undefined, `no JSON: ${line}`);
  const all = cli.stdout + cli.stderr;
  for (const key of ['Table', 'PostUp', 'SaveConfig'])
    expect(all.includes(key), `${key} is not named as ignored: ${all}`);
  return `${lines.length} events, ignored keys are named, ${end}, ${evidence}`;
}

const BAD: readonly (readonly [string, (text: string) => string, readonly string[]])[] = [
  [
    'a private key of 31 bytes',
    text => text.replace(/PrivateKey = .*/, `PrivateKey = ${Buffer.alloc(31, 1).toString('base64')}`),
    [],
  ],
  ['a private key that is no base64', text => text.replace(/PrivateKey = .*/, 'PrivateKey = hello'), []],
  ['no private key', text => text.replace(/PrivateKey = .*\n/, ''), []],
  ['a wrong public key', text => text.replace(/PublicKey = .*/, 'PublicKey = abc'), []],
  ['an address that is none', text => text.replace(/Address = .*/, 'Address = 10.66.0.300/24'), []],
  ['a port above 65535', text => text.replace(/ListenPort = .*/, 'ListenPort = 70000'), []],
  ['an endpoint without a port', text => text.replace(/Endpoint = .*/, 'Endpoint = 10.9.0.1'), []],
  ['allowed IPs that are none', text => text.replace(/AllowedIPs = .*/, 'AllowedIPs = 10.66.0.1/33'), []],
  ['an unknown section', text => `${text}[Pear]\n`, []],
  ['an expose without a target', text => text, ['--expose', '80']],
  ['an expose with port 0', text => text, ['--expose', '0=127.0.0.1:80']],
  ['a forward with a wrong port', text => text, ['--forward', '99999=10.66.0.1:80']],
  ['a socks port that is none', text => text, ['--socks', 'http']],
  ['an unknown option', text => text, ['--exspose', '80=127.0.0.1:80']],
];

async function badConfig(bench: Bench): Promise<string> {
  const privateKey = Buffer.alloc(32, 7).toString('base64');
  const publicKey = await publicKeyOf(bench.lab, Buffer.alloc(32, 9).toString('base64'));
  const good = [
    '[Interface]',
    `PrivateKey = ${privateKey}`,
    'Address = 10.66.0.2/24',
    'ListenPort = 51820',
    '[Peer]',
    `PublicKey = ${publicKey}`,
    'AllowedIPs = 10.66.0.1/32',
    'Endpoint = 10.9.0.1:51820',
    '',
  ].join('\n');
  const folder = bench.lab.directory();
  const space = await bench.lab.namespace('cli');
  const runs: [string, Promise<Finished>][] = BAD.map(([what, edit, args], index) => {
    const file = join(folder, `${index}.conf`);
    writeFileSync(file, edit(good), { mode: 0o600 });
    return [what, bench.lab.run(space, [...MOTENET, 'wg', file, ...args], { mayFail: true, timeoutMs: 25_000 })];
  });
  runs.push([
    'a file that is not there',
    bench.lab.run(space, [...MOTENET, 'wg', join(folder, 'none.conf')], { mayFail: true }),
  ]);
  runs.push(['no file', bench.lab.run(space, [...MOTENET, 'wg'], { mayFail: true })]);
  const faults: string[] = [];
  let example = '';
  for (const [what, run] of runs) {
    const { code, stderr, stdout } = await run;
    const lines = stderr.trim().split('\n');
    if (code !== 2 || lines.length !== 1 || lines[0] === '' || /ready/.test(stdout)) {
      faults.push(`${what}: exit ${code}, says ${JSON.stringify(stderr.trim().slice(0, 300))}`);
    } else if (example === '') example = lines[0]!;
    if (stderr.includes(privateKey)) faults.push(`${what}: the private key is printed`);
  }
  expect(faults.length === 0, faults.join('; '));
  return `${runs.length} kinds, each one line and exit code 2, such as: ${example}`;
}

async function keyCommands(bench: Bench): Promise<string> {
  const made = (await bench.lab.run(undefined, [...MOTENET, 'genkey'])).stdout;
  expect(/^[A-Za-z0-9+/]{43}=\n$/.test(made), 'genkey printed something else than a key');
  const ours = (await bench.lab.run(undefined, [...MOTENET, 'pubkey'], { input: made })).stdout.trim();
  const theirs = await publicKeyOf(bench.lab, made.trim());
  expect(ours === theirs, `pubkey says ${ours}, wg pubkey ${theirs}`);
  const bad = await bench.lab.run(undefined, [...MOTENET, 'pubkey'], { input: 'nonsense\n', mayFail: true });
  expect(bad.code === 1 || bad.code === 2, `pubkey of nonsense exits with ${bad.code}`);
  return `both say ${ours}`;
}

/** Cases of the command line. */
export const cliCases: readonly Case[] = [
  {
    name: 'cli-expose',
    title: '`motenet wg --expose` puts a local web server on the tunnel address: curl gets 100 MB over IPv4 and IPv6',
    needs: ['curl'],
    isMoteOnly: true,
    timeoutMs: 240_000,
    run: expose,
  },
  {
    name: 'cli-expose-udp',
    title: '`motenet wg --expose …/udp` leads datagrams to a local service and the answers back to their senders',
    isMoteOnly: true,
    run: exposeUdp,
  },
  {
    name: 'cli-forward',
    title: '`motenet wg --forward` leads local ports into the tunnel: curl gets 100 MB from behind the peer',
    needs: ['curl'],
    isMoteOnly: true,
    timeoutMs: 240_000,
    run: forward,
  },
  {
    name: 'cli-socks',
    title: '`motenet wg --socks` serves curl --socks5-hostname, refuses what is refused, and relays UDP',
    needs: ['curl', 'python3'],
    isMoteOnly: true,
    timeoutMs: 120_000,
    run: socks,
  },
  {
    name: 'cli-iperf3',
    title: 'iperf3 runs through an exposed port in both directions, TCP and UDP',
    needs: ['iperf3'],
    isMoteOnly: true,
    timeoutMs: 120_000,
    run: iperf,
  },
  {
    name: 'cli-json',
    title: '`--json` prints events as JSON lines, and keys of the file that need root are named and ignored',
    isMoteOnly: true,
    run: jsonEvents,
  },
  {
    name: 'cli-bad-config',
    title: 'each wrong file or option gives one clear line and exit code 2',
    isMoteOnly: true,
    timeoutMs: 120_000,
    run: badConfig,
  },
  { name: 'cli-keys', title: '`motenet genkey` and `pubkey` agree with wg', isMoteOnly: true, run: keyCommands },
];
