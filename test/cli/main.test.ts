/** The command as a process: output, exit codes, one line per mistake, signals. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import pkg from '../../package.json' with { type: 'json' };
import { COMMAND, Command, configText, Folder, keyPair, run } from './command.ts';
import { datagrams, serve, until } from './local.ts';

const test = suite('cli command');

const folder = new Folder();
const [own, peer] = [keyPair(), keyPair()];
const mote = { privateKey: own.privateKey, address: '10.0.0.2/24' };
const other = { publicKey: peer.publicKey, allowedIPs: '10.0.0.1/32' };
const good = folder.write('good.conf', configText(mote, other));

/** Runs several at a time, so that the start of Node is waited for only once. */
async function runAll(commands: readonly (readonly [readonly string[], string?])[]) {
  return Promise.all(commands.map(([args, input]) => run(args, input)));
}

test('help and version go to standard output', async () => {
  const [version, short, help, nothing, ofWg, alsoOfWg, ofNone, ofHelp] = await runAll([
    [['--version']],
    [['-V']],
    [['--help']],
    [[]],
    [['help', 'wg']],
    [['wg', 'x.conf', '--help']],
    [['help', 'pubky']],
    [['help', '--help']],
  ]);
  assert.equal(ofHelp, help);
  assert.equal(version, { code: 0, stdout: `motenet ${pkg.version}\n`, stderr: '' });
  assert.is(short!.stdout, version!.stdout);
  assert.match(help!.stdout, /Usage: motenet COMMAND[\s\S]* wg [\s\S]*genkey[\s\S]*pubkey[\s\S]*genpsk/);
  assert.equal([help!.code, help!.stderr], [0, '']);
  assert.equal(nothing, { code: 2, stdout: '', stderr: help!.stdout });
  assert.match(
    ofWg!.stdout,
    /--expose[\s\S]*--forward[\s\S]*--socks[\s\S]*--host[\s\S]*--json[\s\S]*--log[\s\S]*--debug/,
  );
  assert.is(alsoOfWg!.stdout, ofWg!.stdout);
  assert.equal([ofNone!.code, ofNone!.stderr], [2, 'motenet: no command "pubky": did you mean pubkey?\n']);
});

test('a wrong argument, file, key, address or port is one line and exit code 2', async () => {
  const bad = (name: string, from: string, to: string) => folder.write(name, configText(mote, other).replace(from, to));
  const short = own.privateKey.slice(1);
  const cases: readonly (readonly [readonly string[], string])[] = [
    [['frob'], 'no command "frob": `motenet --help` lists what there is'],
    [['genkye'], 'no command "genkye": did you mean genkey?'],
    [['--verison'], 'no flag "--verison": did you mean --version?'],
    [['doctor', '--data=x'], '--data is about a coordinator: motenet doctor --server --data …'],
    [['genkey', 'x'], 'genkey takes no arguments, got "x"'],
    [['wg'], 'wg expected a configuration file, got none: motenet wg FILE.conf (- reads it from standard input)'],
    [
      ['wg', good, '--expose', '80=70000'],
      '--expose expected PORT=HOST:PORT[/udp], such as 80=127.0.0.1:8080, got "80=70000"',
    ],
    [['wg', 'wg0'], 'there is no file "wg0": give a path, such as /etc/wireguard/wg0.conf'],
    [['wg', join(folder.path, 'no.conf')], `there is no file "${join(folder.path, 'no.conf')}": check the path`],
    [['wg', folder.path], `"${folder.path}" is a folder: give the path of a wg-quick file`],
    [
      ['wg', bad('key.conf', own.privateKey, short)],
      `${join(folder.path, 'key.conf')} line 2: PrivateKey expected 44 characters of base64 (32 bytes), got 43 characters`,
    ],
    [
      ['wg', bad('address.conf', '10.0.0.2/24', '10.0.0.2/240')],
      `${join(folder.path, 'address.conf')} line 3: Address expected an address such as 10.0.0.2/24 or fd00::2/64, got "10.0.0.2/240"`,
    ],
    [
      ['wg', folder.write('own.conf', configText(mote, { ...other, publicKey: own.publicKey }))],
      `${join(folder.path, 'own.conf')}: `,
    ],
    [
      ['wg', good, '--forward', '0=db.internal:80'],
      '--forward to "db.internal": not an address, and no --host db.internal=ADDRESS says which',
    ],
  ];
  const outcomes = await runAll(cases);
  for (const [i, { code, stdout, stderr }] of outcomes.entries()) {
    const [args, text] = cases[i]!;
    assert.is(code, 2, args.join(' '));
    assert.is(stdout, '', args.join(' '));
    assert.ok(stderr.startsWith(`motenet: ${text}`), stderr);
    assert.match(stderr, /^[^\n]+\n$/, 'one line');
    assert.not(stderr.includes(short.slice(0, 12)), 'key material');
  }
});

test('--debug adds the stack, and --json the error as an event', async () => {
  const [debug, json] = await runAll([[['wg', 'wg0', '--debug']], [['wg', 'wg0', '--json']]]);
  assert.match(debug!.stderr, /^motenet: there is no file.*\nUsageError: [\s\S]*\n {4}at .*\nError: ENOENT/);
  const message = 'there is no file "wg0": give a path, such as /etc/wireguard/wg0.conf';
  const { event, message: told, exitCode } = JSON.parse(json!.stdout);
  assert.equal([event, told, exitCode, json!.code], ['error', message, 2, 2]);
  assert.is(json!.stderr, `motenet: ${message}\n`);
});

test('a port that is taken is named with the next step, exit code 1', async () => {
  const udp = await datagrams('0.0.0.0');
  const { server, port } = await serve(() => undefined);
  const file = folder.write('taken.conf', configText({ ...mote, port: udp.port }, other));
  const [outside, local] = await runAll([[['wg', file]], [['wg', good, '--socks', `${port}`]]]);
  assert.is(outside!.code, 1);
  assert.match(outside!.stderr, new RegExp(`^motenet: UDP port ${udp.port} is in use: stop the program`));
  assert.is(local!.code, 1);
  const text = `motenet: 127.0.0.1 port ${port} is in use: stop the program that has it or give --socks another port`;
  assert.is(local!.stderr.trimEnd().split('\n').at(-1), text);
  assert.is(local!.stdout, '');
  udp.socket.close();
  server.close();
});

test('genkey, genpsk and pubkey print keys as wg does', async () => {
  const [a, b, psk] = await runAll([[['genkey']], [['genkey']], [['genpsk']]]);
  for (const { code, stdout, stderr } of [a!, b!, psk!]) {
    assert.equal([code, stderr], [0, '']);
    assert.match(stdout, /^[A-Za-z0-9+/]{43}=\n$/);
  }
  assert.is.not(a!.stdout, b!.stdout);
  const bytes = Buffer.from(a!.stdout, 'base64');
  assert.equal([bytes[0]! & 7, bytes[31]! & 192], [0, 64], 'clamped');
  // RFC 7748 §6.1: Alice's keys.
  const { stdout } = await run(['pubkey'], 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo= \t\r\n\n');
  assert.is(stdout, 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n');
});

test('pubkey refuses what is not a key with exit code 1, and shows none of it', async () => {
  const outcomes = await runAll(
    [own.privateKey.slice(1), `${own.privateKey}x`].map(input => [['pubkey'], input] as const),
  );
  for (const { code, stdout, stderr } of outcomes) {
    assert.equal([code, stdout], [1, '']);
    assert.match(stderr, /^motenet: pubkey expected [^\n]*\n$/);
    assert.not(stderr.includes(own.privateKey.slice(1, 12)));
  }
});

test('genkey warns when the key goes to a file that others can read', () => {
  const warnings = [0o644, 0o600].map(mode => {
    const fd = openSync(join(folder.path, `key-${mode}`), 'w', mode);
    const { stderr, status } = spawnSync(process.execPath, [COMMAND, 'genkey'], {
      stdio: ['ignore', fd, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(fd);
    assert.is(status, 0);
    return stderr;
  });
  assert.match(warnings[0]!, /^warning: .*others can read \(mode 644\)/);
  assert.is(warnings[1], '');
});

test('one line that begins with ready goes to standard output, the rest to standard error; SIGTERM ends it', async () => {
  const open = folder.write('open.conf', configText({ ...mote, more: 'PostUp = x\nMTU = 1400' }, other), 0o644);
  const command = new Command(['wg', open, '--socks', '0.0.0.0:0', '--forward', '0=10.9.9.9:80']);
  await command.line(/^ready/);
  const { code, stdout, stderr } = await command.stop('SIGTERM');
  assert.is(code, 0);
  const ready =
    /^ready: 10\.0\.0\.2\/24 on UDP port \d+; forward 127\.0\.0\.1:\d+\/tcp -> 10\.9\.9\.9:80; socks 0\.0\.0\.0:\d+\/tcp\n$/;
  assert.match(stdout, ready);
  const lines = stderr.trimEnd().split('\n');
  assert.is(lines[0], `motenet ${pkg.version} with ${open}`);
  assert.is(lines[1], 'ignored: line 4, PostUp: commands are not run');
  assert.is(lines[2], `warning: ${open} holds a private key and others may read it (mode 644): chmod 600 ${open}`);
  assert.match(lines[3]!, /^warning: --socks 0\.0\.0\.0:0 lets everybody who reaches this machine into the tunnel/);
  assert.match(lines[4]!, /^warning: --forward to 10\.9\.9\.9: no peer's AllowedIPs contain it/);
  assert.match(lines[5]!, /^up: 10\.0\.0\.2\/24, UDP port \d+, MTU 1400, 1 peer, own key /);
  assert.ok(lines[5]!.endsWith(own.publicKey));
  assert.match(stderr, /\nstopping: SIGTERM\nstopped: 0 bytes received, 0 sent\n$/);
});

test('a peer that cannot know where --expose is gives a warning, unless it is kept informed', async () => {
  const text = configText(mote, { ...other, port: 9 });
  const warned = async (input: string) => {
    const command = new Command(['wg', '-', '--expose', '80=127.0.0.1:1'], input);
    await command.line(/^ready/);
    return (await command.stop()).stderr.includes('warning: the peer at 127.0.0.1:9 cannot reach --expose before');
  };
  assert.is(await warned(text), true);
  assert.is(await warned(`${text}PersistentKeepalive = 25\n`), false);
});

test('the file may come from standard input, and SIGINT ends with exit code 0', async () => {
  const command = new Command(['wg', '-', '--json'], configText(mote, other));
  const { addresses, services, listenPort } = JSON.parse(await command.line(/"ready"/));
  assert.equal([addresses, services], [['10.0.0.2/24'], []]);
  assert.ok(listenPort > 0);
  const { code, stderr } = await command.stop('SIGINT');
  assert.equal([code, stderr], [0, '']);
  assert.equal(
    command.events().map(({ event }) => event),
    ['start', 'up', 'ready', 'stopping', 'stopped'],
  );
});

test('SIGINT while standard input is still open ends with exit code 0', async () => {
  // Nothing says when signals are caught; one that comes before kills the process (code null), and is tried again later.
  let code: number | null = null;
  for (let waitMs = 500; code === null && waitMs <= 8000; waitMs *= 2) {
    const command = new Command(['wg', '-']);
    await sleep(waitMs);
    code = (await command.stop('SIGINT')).code;
  }
  assert.is(code, 0);
});

test('a reader of standard output that goes away ends the command', async () => {
  const command = new Command(['wg', good, '--json', '--socks', '0', '--verbose']);
  const { services } = JSON.parse(await command.line(/"ready"/));
  command.child.stdout!.destroy();
  // Whatever it tells next goes to nobody.
  await until(() => {
    fetch(`http://127.0.0.1:${services[0].port}/`).catch(() => undefined);
    return command.isEnded;
  }, 'the end');
  assert.is((await command.ended).code, 0);
});

test.after(() => folder.remove());

test.run();
