/** Flags: what is accepted, and the one line for each mistake. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseWgArgs } from '../../targets/cli/args.ts';
import { codeOf, describeConnectError, describeListenError, UsageError } from '../../targets/cli/errors.ts';

const test = suite('cli args');

const parse = (...args: string[]) => parseWgArgs(['wg0.conf', ...args]);

function mistake(...args: string[]): string {
  try {
    parseWgArgs(args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${args.join(' ')}`);
}

test('without flags there are no services, text, and level info', () => {
  const options = parse();
  assert.equal([options.file, options.isJson, options.level], ['wg0.conf', false, 'info']);
  assert.equal([options.expose, options.forward, options.socks, options.hosts.size], [[], [], [], 0]);
  assert.is(parseWgArgs(['-']).file, '-');
});

test('flags may stand in any order, several times, with or without "="', () => {
  const options = parseWgArgs([
    '--json',
    '--expose=80=127.0.0.1:3000',
    'a.conf',
    '--expose',
    '53=[::1]:5353/udp',
    '-v',
  ]);
  assert.equal([options.file, options.isJson, options.level], ['a.conf', true, 'debug']);
  assert.equal(options.expose, [
    { protocol: 'tcp', bind: '', port: 80, host: '127.0.0.1', targetPort: 3000 },
    { protocol: 'udp', bind: '', port: 53, host: '::1', targetPort: 5353 },
  ]);
  assert.is(parse('--log', 'warn').level, 'warn');
});

test('--forward binds loopback unless told, takes port 0 and names', () => {
  const { forward } = parse(
    ...['--forward', '8080=10.0.0.1:80', '--forward', '0=DB.Internal:5432', '--forward', '[::1]:1=[FD00::1]:2/UDP'],
    ...['--forward', '0.0.0.0:3=10.0.0.1:4', '--forward', 'localhost:5=10.0.0.1:6'],
  );
  assert.equal(
    forward.map(({ protocol, bind, port, host, targetPort }) => [protocol, bind, port, host, targetPort]),
    [
      ['tcp', '127.0.0.1', 8080, '10.0.0.1', 80],
      ['tcp', '127.0.0.1', 0, 'db.internal', 5432],
      ['udp', '::1', 1, 'fd00::1', 2],
      ['tcp', '0.0.0.0', 3, '10.0.0.1', 4],
      ['tcp', 'localhost', 5, '10.0.0.1', 6],
    ],
  );
});

test('--socks and --host', () => {
  const { socks, hosts } = parse(
    '--socks',
    '1080',
    '--socks',
    '[::1]:0',
    '--host',
    'DB=10.0.0.7',
    '--host',
    'v6=FD00::1',
  );
  assert.equal(socks, [
    { bind: '127.0.0.1', port: 1080 },
    { bind: '::1', port: 0 },
  ]);
  assert.equal(
    [...hosts],
    [
      ['db', '10.0.0.7'],
      ['v6', 'fd00::1'],
    ],
  );
});

const EXPOSE = '--expose expected PORT=HOST:PORT[/udp], such as 80=127.0.0.1:8080';
const FORWARD = '--forward expected [BIND:]PORT=HOST:PORT[/udp], such as 8080=10.0.0.1:80';
const BIND = 'expected an address of this machine before the port (IPv6 in brackets)';

const GOLDEN: readonly (readonly [readonly string[], string])[] = [
  [[], 'wg expected a configuration file, got none: motenet wg FILE.conf (- reads it from standard input)'],
  [['a', 'b'], 'wg expected one configuration file, got also "b": run one command per file'],
  [['a', '--expsoe', '1'], 'wg does not know the flag "--expsoe": did you mean --expose?'],
  [['a', '--frobnicate'], 'wg does not know the flag "--frobnicate": `motenet help wg` lists the flags'],
  [['a', '-x'], 'wg does not know the flag "-x": `motenet help wg` lists the flags'],
  [['a', '--expose'], '--expose expected a value, got none'],
  [['a', '--expose', '--json'], '--expose expected a value, got none'],
  [['a', '--json=yes'], '--json takes no value'],
  [['a', '--log', 'loud'], '--log expected error, warn, info, debug, got "loud"'],
  [['a', '--expose', '80'], `${EXPOSE}, got "80"`],
  [['a', '--expose', '80=3000'], `${EXPOSE}, got "80=3000"`],
  [['a', '--expose', '80=::1:3000'], `${EXPOSE}, got "80=::1:3000"`],
  [['a', '--expose', '80=300.1.1.1:3000'], `${EXPOSE}, got "80=300.1.1.1:3000"`],
  [['a', '--expose', '80=a b:3000'], `${EXPOSE}, got "80=a b:3000"`],
  [['a', '--expose', '80=http://127.0.0.1:3000'], `${EXPOSE}, got "80=http://127.0.0.1:3000"`],
  [['a', '--expose', '80=[127.0.0.1]:3000'], `${EXPOSE}, got "80=[127.0.0.1]:3000"`],
  [
    ['a', '--expose', '10.0.0.1:80=127.0.0.1:1'],
    `--expose expected a port before "=", got "10.0.0.1:80": ${EXPOSE.slice(18)}`,
  ],
  [['a', '--expose', '0=127.0.0.1:3000'], '--expose expected a port of 1 to 65535, got "0"'],
  [['a', '--expose', '80=127.0.0.1:0'], '--expose expected a port of 1 to 65535, got "0"'],
  [['a', '--expose', '80=127.0.0.1:70000'], '--expose expected a port of 1 to 65535, got "70000"'],
  [['a', '--expose', '080=127.0.0.1:1'], '--expose expected a port of 1 to 65535, got "080"'],
  [['a', '--expose', '=127.0.0.1:1'], '--expose expected a port of 1 to 65535, got ""'],
  [['a', '--expose', '80=127.0.0.1:1/sctp'], '--expose expected /udp or nothing at the end, got "80=127.0.0.1:1/sctp"'],
  [
    ['a', '--expose', '80=127.0.0.1:1', '--expose', '80=127.0.0.1:2'],
    '--expose leads tcp port 80 to two places: keep one',
  ],
  [['a', '--forward', '8080'], `${FORWARD}, got "8080"`],
  [['a', '--forward', '70000=10.0.0.1:80'], '--forward expected a port of 0 to 65535, got "70000"'],
  [['a', '--forward', '1=10.0.0.1:0'], '--forward expected a port of 1 to 65535, got "0"'],
  [['a', '--forward', '::1:1=10.0.0.1:1'], `--forward ${BIND}, got "::1"`],
  [['a', '--forward', '1.2.3:1=10.0.0.1:1'], `--forward ${BIND}, got "1.2.3"`],
  [['a', '--socks', 'x'], '--socks expected a port of 0 to 65535, got "x"'],
  [['a', '--socks', ':1080'], `--socks ${BIND}, got ""`],
  [['a', '--host', 'db'], '--host expected NAME=ADDRESS, such as db.internal=10.0.0.7, got "db"'],
  [
    ['a', '--host', '10.0.0.1=10.0.0.7'],
    '--host expected NAME=ADDRESS, such as db.internal=10.0.0.7, got "10.0.0.1=10.0.0.7"',
  ],
  [['a', '--host', 'db=x'], '--host expected NAME=ADDRESS, such as db.internal=10.0.0.7, got "db=x"'],
  [['a', '--socks', '\u001b[2J'], '--socks expected a port of 0 to 65535, got "?[2J"'],
];

test('every mistake gives its own line', () => {
  for (const [args, text] of GOLDEN) assert.is(mistake(...args), text);
});

test('the same port may be exposed for TCP and UDP', () => {
  assert.is(parse('--expose', '53=127.0.0.1:53', '--expose', '53=127.0.0.1:53/udp').expose.length, 2);
});

test('errors of the system become a line with the next step', () => {
  const error = (code: string) => Object.assign(new Error('text'), { code });
  const listen = (code: string) => describeListenError(error(code), '127.0.0.1', 80, '--socks');
  assert.is(
    listen('EADDRINUSE'),
    '127.0.0.1 port 80 is in use: stop the program that has it or give --socks another port',
  );
  assert.is(listen('EACCES'), 'no permission to listen on 127.0.0.1 port 80: give --socks a port above 1023');
  assert.is(listen('EODD'), 'cannot listen on 127.0.0.1 port 80 for --socks: text');
  assert.is(describeConnectError(error('ECONNREFUSED'), 'a:1'), 'nothing listens on a:1: start the service there');
  assert.is(describeConnectError(error('EMFILE'), 'a:1'), 'out of file descriptors: raise ulimit -n to reach a:1');
  assert.is(codeOf('no error'), 'ERR_UNKNOWN');
});

test('any arguments are either accepted or one printable line', () => {
  let state = 20_26;
  const next = (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * n);
  };
  const pieces = [
    ...[
      '--expose',
      '--forward',
      '--socks',
      '--host',
      '--json',
      '--log',
      '-v',
      '--',
      '-',
      'a.conf',
      '80',
      '=',
      ':',
      '0',
    ],
    ...['127.0.0.1', '[::1]', '::1', '[', ']', '/udp', '/', 'db', '.', '70000', '%', '\u0000', '\n', '😀', 'info', ','],
  ];
  let accepted = 0;
  for (let round = 0; round < 20_000; round++) {
    const args = Array.from({ length: next(5) }, () => {
      let text = '';
      for (let i = 1 + next(6); i > 0; i--) text += pieces[next(pieces.length)]!;
      return next(2) === 0 ? pieces[next(pieces.length)]! : text;
    });
    try {
      parseWgArgs(args);
      accepted++;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      assert.ok(/^[\x20-\x7e…]{1,400}$/.test(error.message), error.message);
    }
  }
  assert.ok(accepted > 100, `only ${accepted} accepted`);
});

test.run();
