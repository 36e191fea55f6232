/** Arguments of the administration: each command line becomes one command, each mistake one line. */
import { homedir } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAdminArgs, parseServerQuestion, usualDataDir } from '../../targets/cli/admin-args.ts';
import { ADMIN_GROUPS } from '../../targets/cli/admin-commands.ts';
import { adminHelp } from '../../targets/cli/admin-help.ts';
import { COMMANDS, commandHelp, generalHelp } from '../../targets/cli/help.ts';
import { UsageError } from '../../targets/cli/errors.ts';
import { parseServeArgs } from '../../targets/cli/serve-args.ts';

const test = suite('cli admin args');

const TOKEN = `mote-api-0123456789ab-${'S'.repeat(43)}`;
/** Parses `keys create --json` and the like. */
const parse = (line: string, environment = {}) => {
  const [group, ...args] = line.split(' ');
  return parseAdminArgs(group!, args, environment);
};
const taskOf = (line: string) => parse(line).task;

function mistake(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.instance(error, UsageError);
    return (error as Error).message;
  }
  throw new Error('no mistake');
}

test('every command line becomes its command', () => {
  const lab = { tailnet: 'lab' };
  const cases: readonly [string, object][] = [
    ['keys create', { type: 'key-create', tailnet: 'default' }],
    [
      'keys create --expires 90d --reusable --ephemeral --preapproved --tag server --tag tag:db --user ann --description x --tailnet lab',
      {
        ...{ type: 'key-create', ...lab, lifeMs: 7_776_000_000, isReusable: true, isEphemeral: true },
        ...{ isPreapproved: true, tags: ['tag:server', 'tag:db'], user: 'ann', description: 'x' },
      },
    ],
    ['keys list --tailnet lab', { type: 'key-list', ...lab }],
    ['keys revoke 0123456789ab', { type: 'key-revoke', tailnet: 'default', id: '0123456789ab' }],
    [
      `keys revoke mote-auth-0123456789ab-${'x'.repeat(43)}`,
      { type: 'key-revoke', tailnet: 'default', id: '0123456789ab' },
    ],
    ['devices list', { type: 'device-list', tailnet: 'default' }],
    [
      'devices approve laptop --user ann',
      { type: 'device-approve', tailnet: 'default', device: 'laptop', user: 'ann' },
    ],
    [
      'devices rename 100.64.0.1 db-1 --tailnet lab',
      { type: 'device-rename', ...lab, device: '100.64.0.1', name: 'db-1' },
    ],
    [
      'devices tag web server,tag:db',
      { type: 'device-tags', tailnet: 'default', device: 'web', tags: ['tag:server', 'tag:db'] },
    ],
    ['devices tag web --none --tailnet lab', { type: 'device-tags', ...lab, device: 'web', tags: [] }],
    [
      'devices routes gw --approve 10.0.0.0/8,fd00:0::/8,10.0.0.0/8,192.0.2.1',
      {
        ...{ type: 'device-routes', tailnet: 'default', device: 'gw' },
        ...{ routes: ['10.0.0.0/8', 'fd00::/8', '192.0.2.1/32'] },
      },
    ],
    [
      'devices routes gw --approve exit',
      { type: 'device-routes', tailnet: 'default', device: 'gw', routes: ['0.0.0.0/0', '::/0'] },
    ],
    ['devices routes gw --none', { type: 'device-routes', tailnet: 'default', device: 'gw', routes: [] }],
    ['devices expire 5', { type: 'device-expire', tailnet: 'default', device: '5' }],
    ['devices remove fd7a::1', { type: 'device-remove', tailnet: 'default', device: 'fd7a::1' }],
    ['tailnets list', { type: 'tailnet-list' }],
    ['tailnets create lab', { type: 'tailnet-create', ...lab }],
    [
      'tailnets create lab --approval on --key-life never',
      { type: 'tailnet-create', ...lab, requiresApproval: true, keyLifeMs: 0 },
    ],
    ['tailnets update lab --approval off', { type: 'tailnet-update', ...lab, requiresApproval: false }],
    ['tailnets update lab --key-life 1h', { type: 'tailnet-update', ...lab, keyLifeMs: 3_600_000 }],
    ['tailnets remove lab --force', { type: 'tailnet-remove', ...lab, force: true }],
    ['users list', { type: 'user-list', tailnet: 'default' }],
    ['users create ann --name Ann', { type: 'user-create', tailnet: 'default', loginName: 'ann', displayName: 'Ann' }],
    [
      'users rename ann ann@example.com',
      { type: 'user-rename', tailnet: 'default', loginName: 'ann', newLoginName: 'ann@example.com' },
    ],
    ['users remove ann', { type: 'user-remove', tailnet: 'default', loginName: 'ann' }],
    ['policy get --tailnet lab', { type: 'policy-get', ...lab }],
    [
      'policy explain laptop web:22',
      { type: 'policy-explain', tailnet: 'default', source: 'laptop', destination: 'web', port: 22 },
    ],
    [
      'policy explain [fd7a::1] [fd7a::2]:53 --proto UDP --tailnet lab',
      { type: 'policy-explain', ...lab, source: 'fd7a::1', destination: 'fd7a::2', port: 53, protocol: 17 },
    ],
    [
      'policy explain a fd7a::2 --proto 58',
      { type: 'policy-explain', tailnet: 'default', source: 'a', destination: 'fd7a::2', port: 0, protocol: 58 },
    ],
    [
      'policy explain a [fd7a::2]:* --proto gre',
      { type: 'policy-explain', tailnet: 'default', source: 'a', destination: 'fd7a::2', port: 0, protocol: 47 },
    ],
    ['tokens create --expires 1y', { type: 'token-create', tailnet: 'default', lifeMs: 31_536_000_000 }],
    ['tokens create', { type: 'token-create', tailnet: 'default', lifeMs: 7_776_000_000 }],
    [
      'tokens create --server --description ci --expires never',
      { type: 'token-create', tailnet: '', description: 'ci' },
    ],
    ['tokens list --server', { type: 'token-list', tailnet: '' }],
    [`tokens revoke ${TOKEN} --tailnet lab`, { type: 'token-revoke', ...lab, id: '0123456789ab' }],
  ];
  for (const [line, command] of cases) assert.equal(taskOf(line), { type: 'command', command }, line);
  const tasks: readonly [string, object][] = [
    ['policy check x.hujson', { type: 'policy-check', path: 'x.hujson', devices: undefined }],
    ['policy check - --devices d.json', { type: 'policy-check', path: '-', devices: 'd.json' }],
    [
      'policy set x.hujson',
      { type: 'policy-put', tailnet: 'default', path: 'x.hujson', isDryRun: false, version: undefined },
    ],
    [
      'policy set - --dry-run --if-version 0 --tailnet lab',
      { type: 'policy-put', ...lab, path: '-', isDryRun: true, version: 0 },
    ],
    ['policy diff x', { type: 'policy-put', tailnet: 'default', path: 'x', version: undefined, isDryRun: true }],
    [
      'policy explain 100.64.0.1 100.64.0.2 --proto ICMP',
      {
        type: 'policy-explain-icmp',
        command: {
          ...{ type: 'policy-explain', tailnet: 'default', source: '100.64.0.1', destination: '100.64.0.2', port: 0 },
          protocol: 1,
        },
      },
    ],
    ['policy edit --tailnet lab', { type: 'policy-edit', ...lab }],
  ];
  for (const [line, task] of tasks) assert.equal(taskOf(line), task, line);
  const named = new Set([...cases, ...tasks].map(([line]) => line.split(' ').slice(0, 2).join(' ')));
  const all = Object.entries(ADMIN_GROUPS).flatMap(([group, { entries }]) =>
    Object.keys(entries).map(name => `${group} ${name}`),
  );
  assert.equal([...named].sort(), all.sort());
  assert.equal(taskOf('audit'), { type: 'audit', query: { limit: 100 } });
  assert.equal(taskOf('audit --tailnet lab --limit 5 --before 9'), {
    type: 'audit',
    query: { limit: 5, before: 9, tailnet: 'lab' },
  });
  assert.equal(taskOf('backup /tmp/x.db'), { type: 'backup', path: '/tmp/x.db' });
});

test('who is asked follows from --data, --admin, --token and the environment', () => {
  assert.equal(parse('keys list', { XDG_DATA_HOME: '/data' }).place, { dataDir: '/data/motenet' });
  assert.is(usualDataDir({}), `${homedir()}/.local/share/motenet`);
  assert.is(usualDataDir({ XDG_DATA_HOME: 'relative' }), `${homedir()}/.local/share/motenet`);
  assert.equal(parse('keys list --data /d/./x').place, { dataDir: '/d/x' });
  const at = (line: string, environment = {}) => {
    const { url, token } = parse(line, environment).place as { url: URL; token: string };
    return [url.href, token];
  };
  assert.equal(at(`keys list --admin https://c.example --token ${TOKEN}`), ['https://c.example/', TOKEN]);
  assert.equal(at('keys list --admin http://c:8080/sub/', { MOTENET_TOKEN: TOKEN }), ['http://c:8080/sub/', TOKEN]);
  assert.equal(at('audit --admin http://c --token t', { MOTENET_TOKEN: TOKEN }), ['http://c/', 't']);
  assert.equal([parse('keys list --json').isJson, parse('audit').isJson], [true, false]);
  // A token in the environment alone sends nobody elsewhere.
  assert.equal(parse('keys list --data /d', { MOTENET_TOKEN: TOKEN }).place, { dataDir: '/d' });
});

test('status and doctor of a server take the place of one', () => {
  const ask = (line: string) => parseServerQuestion('doctor', line.split(' '), {});
  assert.equal(ask('--server --data /d --json'), { place: { dataDir: '/d' }, isJson: true });
  assert.equal(ask('--server --admin http://c --token t').place, { url: new URL('http://c'), token: 't' });
  const place = '--data and --admin exclude each other: give one';
  assert.is(
    mistake(() => ask('--server --data d --admin http://c')),
    place,
  );
  assert.is(
    mistake(() => ask('--server x')),
    'doctor --server takes no arguments, got also "x"',
  );
  const state = 'doctor --server does not know the flag "--state": `motenet help doctor --server` lists the flags';
  assert.is(
    mistake(() => ask('--server --state d')),
    state,
  );
});

test('each mistake is one line that says what was expected', () => {
  const cases: readonly [string, string][] = [
    ['keys', 'keys expected create, list, revoke, got nothing'],
    ['keys --json', 'keys expected create, list, revoke, got "--json"'],
    ['keys craete', 'keys has no "craete": did you mean keys create?'],
    ['keys toString', 'keys has no "toString": known are create, list, revoke'],
    ['devices frobnicate', 'devices has no "frobnicate": known are list, approve, rename, expire, tag, routes, remove'],
    ['keys create --expries 3d', 'keys create does not know the flag "--expries": did you mean --expires?'],
    ['keys create --expires', '--expires expected a value, got none'],
    ['keys create --reusable=yes', '--reusable takes no value'],
    ['keys create x', 'keys create takes no arguments, got also "x"'],
    ['keys revoke', 'keys revoke expected ID, got none: motenet keys revoke ID'],
    ['keys revoke nonsense', '"id" of key-revoke expected 12 hex digits, got "nonsense"'],
    ['devices tag web', 'devices tag expected TAGS, such as server,db, or --none: give one of them'],
    ['devices tag web db --none', 'devices tag expected TAGS, such as server,db, or --none: give one of them'],
    [
      'devices tag web db,1x',
      'TAGS expected lower-case letters, digits and - that begin with a letter, such as server, got "1x"',
    ],
    ['devices routes gw', 'devices routes expected --approve ROUTES or --none: give one of them'],
    ['devices routes gw --approve 10.0.0.1/8', '--approve: "10.0.0.1/8" has host bits: write 10.0.0.0/8'],
    ['devices routes gw --approve x', '--approve expected prefixes such as 10.0.0.0/8, or exit, got "x"'],
    ['policy', 'policy expected check, get, set, diff, explain, edit, got nothing'],
    [
      'policy explain a/b web:22',
      '"source" of policy-explain expected the id, the name or an address of a device, got "a/b"',
    ],
    ['policy explain a web', 'DST:PORT expected a port, such as web:22, got "web"'],
    ['policy explain a fd7a::1', 'DST:PORT expected a port, such as [fd7a::1]:22, got "fd7a::1"'],
    ['policy explain a [fd7a::1]', 'DST:PORT expected a port, such as [fd7a::1]:22, got "[fd7a::1]"'],
    ['policy explain a web:65536', 'DST:PORT expected a port of 0 to 65535, got "65536"'],
    ['policy explain a web:', 'DST:PORT expected a port of 0 to 65535, got ""'],
    [
      'policy explain a tag:web:22',
      'DST:PORT expected web:22, 100.64.0.7:22 or [fd7a:115c:a1e0::7]:22, got "tag:web:22"',
    ],
    ['policy explain a [web]:22', 'DST:PORT expected web:22, 100.64.0.7:22 or [fd7a:115c:a1e0::7]:22, got "[web]:22"'],
    ['policy explain a :22', 'DST:PORT expected web:22, 100.64.0.7:22 or [fd7a:115c:a1e0::7]:22, got ":22"'],
    ['policy explain a web:22 --proto icmp', 'protocol 1 has no ports: write "web" instead of "web:22"'],
    [
      'policy explain a web:22 --proto 256',
      '--proto expected a name such as tcp, udp, icmp, ipv6-icmp, or 0 to 255, got "256"',
    ],
    ['policy set x --if-version -1', '--if-version expected a value, got none'],
    ['policy set x --if-version x', '--if-version expected a whole number from 0 to 9007199254740991, got "x"'],
    ['policy check', 'policy check expected FILE, got none: motenet policy check FILE'],
    [
      'policy check x --data d',
      'policy check does not know the flag "--data": `motenet help policy check` lists the flags',
    ],
    ['devices rename a', 'devices rename expected NAME, got none: motenet devices rename DEVICE NAME'],
    ['devices rename a b c', 'devices rename takes DEVICE and NAME, got also "c"'],
    [
      'devices rename a B_',
      '"name" of device-rename expected a name of 1 to 63 characters of a-z, 0-9 and - (not at an end), got "B_"',
    ],
    [
      'keys create --expires 90',
      '--expires expected a time such as 30m, 12h or 90d (units s, m, h, d, w, y), got "90"',
    ],
    ['keys create --expires 366d', '--expires expected at most 1 year, got "366d"'],
    ['tailnets create lab --key-life 11y', '--key-life expected at most 10 years, got "11y"'],
    [
      'keys create --tag 1x',
      '--tag expected lower-case letters, digits and - that begin with a letter, such as server, got "1x"',
    ],
    ['tailnets update lab', 'tailnets update expected --approval or --key-life, got neither'],
    ['tailnets create lab --approval yes', '--approval expected on or off, got "yes"'],
    [
      'tailnets list --tailnet lab',
      'tailnets list does not know the flag "--tailnet": `motenet help tailnets list` lists the flags',
    ],
    ['tokens create --server --tailnet lab', '--server and --tailnet exclude each other: give one'],
    ['audit --limit 0', '--limit expected a whole number from 1 to 1000, got "0"'],
    ['audit --before x', '--before expected a whole number from 1 to 9007199254740991, got "x"'],
    ['audit --tailnet L_', '--tailnet expected the name of a tailnet, got "L_"'],
    ['backup', 'backup expected FILE, got none: motenet backup FILE'],
    ['keys list --token x', '--token is for --admin URL, got none: give both'],
    ['keys list --data=', '--data expected a folder, got an empty path'],
    ['keys list --admin http://c --data d', '--data and --admin exclude each other: give one'],
    [
      'keys list --admin http://c',
      '--admin needs a token: --token T, or MOTENET_TOKEN; `motenet tokens create` makes one',
    ],
    ['keys list --admin c:8080 --token t', '--admin expected a URL such as https://coordinator.example, got "c:8080"'],
    [
      'keys list --admin http://u:SECRET@c --token t',
      '--admin expected a URL such as https://coordinator.example, got one with more than that',
    ],
    ['keys list --admin http://c --token tö', 'the token is not one: it has spaces or odd characters'],
  ];
  for (const [line, text] of cases)
    assert.is(
      mistake(() => parse(line)),
      text,
    );
});

test('a token or key in the wrong place is not repeated', () => {
  const lines = [
    `users create ${TOKEN}`,
    `devices approve ${TOKEN}/x`,
    `users remove ${TOKEN}=`,
    `devices rename x ${TOKEN}`,
  ];
  for (const line of lines) {
    let message = '';
    try {
      parse(line);
    } catch (error) {
      message = (error as Error).message;
    }
    assert.not(message.includes('SSSS'), message);
  }
});

test('every command has a help, no line of which is longer than 120 characters', () => {
  for (const text of [generalHelp(), ...Object.keys(COMMANDS).map(name => commandHelp(name)!)])
    for (const line of text.split('\n')) assert.ok(line.length <= 120, line);
});

test('the help of a group has every command and flag of it, that of a command its own', () => {
  for (const [group, { entries }] of Object.entries(ADMIN_GROUPS)) {
    const whole = adminHelp(group);
    for (const [name, { flags, takes, isLocal }] of Object.entries(entries)) {
      assert.ok(whole.includes(`motenet ${[group, name, ...takes].join(' ')}\n`), `${group} ${name}`);
      const own = adminHelp(group, name);
      assert.match(own, new RegExp(`^Usage: motenet ${group} ${name}`));
      const place = isLocal === true ? [] : ['data', 'admin', 'token'];
      const examples = own.split('\n').filter(line => line.startsWith('  ') && / motenet /.test(line));
      for (const line of examples) assert.ok(line.includes(`motenet ${group} ${name}`), line);
      for (const flag of [...Object.keys(flags), ...place, 'json'])
        for (const text of [whole, own]) assert.ok(text.includes(`--${flag}`), `${group} ${name} --${flag}`);
    }
    for (const line of whole.split('\n')) assert.ok(line.length <= 120, line);
  }
  for (const name of ['audit', 'backup']) assert.match(adminHelp(name), new RegExp(`^Usage: motenet ${name}`));
});

test('serve needs nothing, and takes what it is told', () => {
  const serve = (line: string, environment = {}) => parseServeArgs(line.split(' ').filter(Boolean), environment);
  assert.equal(serve('', { XDG_DATA_HOME: '/data' }), {
    ...{ dataDir: '/data/motenet', isDataTold: false, listen: { host: '0.0.0.0', port: 8080 }, url: undefined },
    ...{ tls: undefined, stunPort: undefined, relayPort: undefined, policies: [], isJson: false, level: 'info' },
  });
  const told = serve(
    '--data /d --listen [::1]:0 --url https://net.example:8443/ --tls-cert c --tls-key k --stun-port off --json -v',
  );
  assert.equal(told, {
    ...{ dataDir: '/d', isDataTold: true, listen: { host: '::1', port: 0 }, url: 'https://net.example:8443' },
    ...{ tls: { certFile: 'c', keyFile: 'k' }, stunPort: -1, relayPort: undefined, policies: [] },
    ...{ isJson: true, level: 'debug' },
  });
  assert.equal(serve('--policy /p/a.hujson --policy lab=/p/b=c').policies, [
    { tailnet: 'default', path: '/p/a.hujson' },
    { tailnet: 'lab', path: '/p/b=c' },
  ]);
  assert.equal(serve('--policy /p/a=b').policies, [{ tailnet: 'default', path: '/p/a=b' }]);
  assert.equal(serve('--listen 9000').listen, { host: '0.0.0.0', port: 9000 });
  assert.equal([serve('--stun-port 0').stunPort, serve('--relay-port 0').relayPort], [0, 0]);
  const cases: readonly [string, string][] = [
    ['x', 'serve takes no arguments, got "x"'],
    ['--listen 127.0.0.1', '--listen expected a port of 0 to 65535, got "127.0.0.1"'],
    ['--listen ::1:80', '--listen expected an address of this machine before the port (IPv6 in brackets), got "::1"'],
    ['--tls-cert c', '--tls-cert needs the other: give both'],
    ['--tls-key c', '--tls-key needs the other: give both'],
    [
      '--tls-cert c --tls-key k --url http://x',
      '--url expected https://, since there is a certificate, got "http://x"',
    ],
    [
      '--tls-cert c --tls-key k --relay-port 1',
      '--relay-port and --tls-cert exclude each other: with a certificate the relay is on --listen',
    ],
    [
      '--url net.example',
      '--url expected http:// or https:// with a host and nothing behind it, such as https://net.example, got "net.example"',
    ],
    [
      '--url http://x/path',
      '--url expected http:// or https:// with a host and nothing behind it, such as https://net.example, got "http://x/path"',
    ],
    ['--policy lab=', '--policy expected FILE or TAILNET=FILE, got "lab="'],
    ['--policy a --policy default=b', '--policy gives the tailnet default two files: keep one'],
    ['--stun-port no', '--stun-port expected a port of 0 to 65535, got "no"'],
    ['--lisen 1', 'serve does not know the flag "--lisen": did you mean --listen?'],
    ['--log loud', '--log expected error, warn, info, debug, got "loud"'],
  ];
  for (const [line, text] of cases)
    assert.is(
      mistake(() => serve(line)),
      text,
    );
});

test.run();
