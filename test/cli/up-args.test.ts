/** Flags of `motenet up` and of the commands that ask it, and the one line for each mistake. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../targets/cli/errors.ts';
import {
  parseDoctorArgs,
  parseLogoutArgs,
  parseNcArgs,
  parsePingArgs,
  parseStatusArgs,
  parseUpArgs,
  parseWhoisArgs,
} from '../../targets/cli/up-args.ts';

const test = suite('cli up args');
const CONTROL = ['--control', 'https://mote.test'];

const up = (...args: string[]) => parseUpArgs([...CONTROL, ...args], {});

function mistake(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error('accepted');
}

test('a coordinator is all that is needed', () => {
  const options = up();
  assert.equal(
    [options.control, options.authKey, options.name, options.caFile, options.isEphemeral, options.isJson],
    ['https://mote.test', undefined, undefined, undefined, false, false],
  );
  assert.equal([options.expose, options.forward, options.socks], [[], [], []]);
  assert.is(options.stateDir, join(homedir(), '.local', 'state', 'motenet'));
  assert.is(parseUpArgs(CONTROL, { XDG_STATE_HOME: '/x' }).stateDir, '/x/motenet');
  assert.is(parseUpArgs(CONTROL, { XDG_STATE_HOME: 'x' }).stateDir, options.stateDir, 'a relative path has no meaning');
});

test('every flag is understood, those of services as with wg', () => {
  const options = up(
    ...['--name', 'cell-7', '--state', '/s', '--ephemeral', '--ca', 'ca.pem', '--json', '--log', 'warn'],
    ...['--expose', '80=127.0.0.1:3000', '--forward', '5432=db:5432', '--socks', '1080', '--host', 'a.b=10.0.0.1'],
  );
  assert.equal(
    [options.name, options.stateDir, options.isEphemeral, options.caFile, options.isJson, options.level],
    ['cell-7', '/s', true, 'ca.pem', true, 'warn'],
  );
  assert.equal([options.expose.length, options.forward.length, options.socks.length, options.hosts.size], [1, 1, 1, 1]);
  assert.is(options.forward[0]!.host, 'db');
});

test('the auth key comes from a flag, a file or the environment, in this order', () => {
  const env = { MOTENET_AUTHKEY: 'from-env\n' };
  assert.equal(parseUpArgs(CONTROL, env).authKey, { from: 'environment', key: 'from-env' });
  assert.equal(parseUpArgs([...CONTROL, '--authkey', 'k'], env).authKey, { from: 'flag', key: 'k' });
  assert.equal(parseUpArgs([...CONTROL, '--authkey-file', '-'], env).authKey, { from: 'file', path: '-' });
  assert.is(parseUpArgs(CONTROL, { MOTENET_AUTHKEY: '' }).authKey, undefined);
});

test('a mistake is one line, which shows no auth key', () => {
  const cases: readonly (readonly [() => unknown, string])[] = [
    [() => parseUpArgs([], {}), 'up expected --control URL, the address of the coordinator'],
    [() => parseUpArgs(['https://mote.test'], {}), 'up takes no arguments, got "https://mote.test"'],
    [() => parseUpArgs(['--control', 'mote.test'], {}), '--control expected a URL such as https://mote.example'],
    [() => parseUpArgs(['--control', 'ws://mote.test'], {}), '--control expected a URL that begins with https://'],
    [() => parseUpArgs(['--control', 'https://a@mote.test'], {}), '--control expected a URL without user'],
    [() => parseUpArgs(['--control', 'https://mote.test/?a'], {}), '--control expected a URL without user'],
    [() => up('--authkey', 'secret-1', '--authkey-file', 'f'), '--authkey and --authkey-file say the same: keep one'],
    [() => up('--authkey', 'secret-1 secret-2'), '--authkey expected the text of one auth key, got something else'],
    [() => up('--authkey', ''), '--authkey expected the text of one auth key, got nothing'],
    [() => up('--authkey-file', ''), '--authkey-file expected a file, got nothing'],
    [() => up('--name', 'a b'), '--name expected 1 to 63 letters, digits and hyphens, got "a b"'],
    [() => up('--state', ''), '--state expected a folder, got nothing'],
    [() => up('--controll', 'x'), 'up does not know the flag "--controll": did you mean --control?'],
    [() => up('--expose', '80'), '--expose expected PORT=HOST:PORT'],
    [() => parseStatusArgs(['x'], {}), 'status does not know what to do with "x": motenet status'],
    [() => parseNcArgs(['db'], {}), 'nc expected PORT, got none: motenet nc NAME PORT'],
    [() => parseNcArgs(['db', '0'], {}), 'nc expected a port of 1 to 65535, got "0"'],
    [() => parseNcArgs(['db', '1', '2'], {}), 'nc does not know what to do with "2"'],
    [() => parseNcArgs(['db', '1', '--timeout', '0'], {}), '--timeout expected seconds, up to 3600, got "0"'],
    [() => parsePingArgs(['db', '--count', '0'], {}), '--count expected 1 to 1000000, got "0"'],
    [() => parsePingArgs([], {}), 'ping expected NAME, got none: motenet ping NAME'],
    [() => parsePingArgs(['db', '--icmp', '--until-direct'], {}), '--icmp goes inside the tunnel'],
    [() => parseDoctorArgs(['db'], {}), 'doctor does not know what to do with "db": motenet doctor'],
    [() => parseWhoisArgs(['db'], {}), 'whois expected an address inside the tailnet, got "db"'],
    [() => parseLogoutArgs(['now'], {}), 'logout does not know what to do with "now"'],
  ];
  for (const [parse, text] of cases) {
    const message = mistake(parse);
    assert.ok(message.startsWith(text), `${message} instead of ${text}`);
    assert.not.match(message, 'secret');
    assert.not.match(message, '\n');
  }
});

test('questions know their state folder, and addresses with or without brackets', () => {
  assert.equal(parseStatusArgs(['--state', '/s', '--json', '-v'], {}), {
    stateDir: '/s',
    isJson: true,
    isVerbose: true,
  });
  const nc = parseNcArgs(['[fd7a::1]', '22', '--timeout', '1.5'], { XDG_STATE_HOME: '/x' });
  assert.equal([nc.name, nc.port, nc.timeoutMs, nc.stateDir], ['fd7a::1', 22, 1500, '/x/motenet']);
  assert.is(parseWhoisArgs(['FD7A::1'], {}).address, 'fd7a::1');
  const ping = parsePingArgs(['db', '-c', '2'], {});
  assert.equal(
    [ping.name, ping.count, ping.timeoutMs, ping.isInside, ping.isUntilDirect],
    ['db', 2, 5000, false, false],
  );
  assert.equal([parsePingArgs(['db'], {}).count, parsePingArgs(['db', '--icmp'], {}).isInside], [4, true]);
  const untilDirect = parsePingArgs(['db', '--until-direct'], {});
  assert.equal([untilDirect.count, untilDirect.isUntilDirect], [10, true]);
  assert.equal(parseDoctorArgs(['--state', '/s', '--json'], {}), { stateDir: '/s', isJson: true });
});

test.run();
