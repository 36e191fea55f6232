/** The events of the command: the table in the README, the table in the code, and what is written agree. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createReport, EVENTS, type Events, type Level } from '../../targets/cli/report.ts';

const test = suite('cli report');

const SERVICE = { service: 'expose', protocol: 'tcp', address: '', port: 80, target: '127.0.0.1:3000' } as const;
const SOCKS = { service: 'socks', protocol: 'tcp', address: '::1', port: 1080, target: '' } as const;
const KEY = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const MOTE = { publicKey: KEY, addresses: ['10.0.0.2/24'], listenPort: 51820 };

/** One of each event, and its line for people. */
const SAMPLES: { readonly [N in keyof Events]: readonly [Events[N], string | undefined] } = {
  start: [{ version: '1.2.3', file: 'wg0.conf' }, 'motenet 1.2.3 with wg0.conf'],
  joining: [
    { version: '1.2.3', control: 'https://mote.test', stateDir: '/s' },
    'motenet 1.2.3 joins https://mote.test, state in /s',
  ],
  'auth-url': [
    { url: 'https://mote.test/register/a\x1b[2J' },
    'to let this device in, open https://mote.test/register/a?[2J',
  ],
  'open-url': [{ url: 'https://mote.test/x' }, 'the coordinator asks you to open https://mote.test/x'],
  state: [{ state: 'needs-approval' }, 'this device waits for the approval of an administrator of the tailnet'],
  joined: [
    { name: 'a.office.test', domain: 'office', user: 'ann', addresses: ['100.64.0.1/32'], peers: 2 },
    'joined office as a.office.test of ann: 100.64.0.1/32; 2 peers',
  ],
  netmap: [{ peers: 1 }, 'the tailnet has 1 peer'],
  home: [{ relay: 'ams' }, 'home relay ams'],
  expiring: [
    { unixMs: 1_800_000_000_000 },
    'the membership ends on 2027-01-15 08:00 UTC: run `motenet logout` and log in again before',
  ],
  path: [{ publicKey: KEY, endpoint: '192.0.2.1:5' }, `peer ${KEY} is reached directly at 192.0.2.1:5`],
  'key-changed': [{ publicKey: KEY }, `own key is now ${KEY}`],
  warning: [{ message: 'odd' }, 'warning: odd'],
  ignored: [{ line: 3, key: 'Table', why: 'needs root' }, 'ignored: line 3, Table: needs root'],
  up: [
    { ...MOTE, mtu: 1420, suite: 'noble', peers: 1 },
    `up: 10.0.0.2/24, UDP port 51820, MTU 1420, 1 peer, own key ${KEY}`,
  ],
  listening: [SERVICE, 'expose: port 80/tcp -> 127.0.0.1:3000'],
  ready: [
    { ...MOTE, services: [SERVICE, SOCKS] },
    'ready: 10.0.0.2/24 on UDP port 51820; expose port 80/tcp -> 127.0.0.1:3000; socks [::1]:1080/tcp',
  ],
  handshake: [{ publicKey: KEY, isInitiator: true }, `handshake with ${KEY} (began here)`],
  endpoint: [{ publicKey: KEY, endpoint: '192.0.2.1:5' }, `${KEY} is at 192.0.2.1:5`],
  'gave-up': [
    { publicKey: KEY },
    `no answer from ${KEY}: check its Endpoint, that it runs, that it knows this key, and that UDP passes`,
  ],
  'session-expired': [{ publicKey: KEY }, `the session with ${KEY} expired`],
  trouble: [{ code: 'ERR_X', message: 'text' }, 'text (ERR_X)'],
  open: [{ id: 1, service: 'socks', protocol: 'tcp', from: 'a:1', to: 'b:2' }, '#1 socks tcp a:1 -> b:2'],
  close: [
    { id: 1, sentBytes: 2, receivedBytes: 3, durationMs: 4, code: 'ECONNRESET' },
    '#1 closed after 4 ms: 2 bytes into the tunnel, 3 out of it (ECONNRESET)',
  ],
  refused: [
    { service: 'socks', protocol: 'tcp', from: 'a:1', to: 'b:2', code: 'ERR_X', message: 'text' },
    'socks tcp from a:1: text',
  ],
  stopping: [{ reason: 'SIGINT' }, 'stopping: SIGINT'],
  stopped: [
    { rxBytes: 1, txBytes: 2, drops: { 'wg-replay': 3 } },
    'stopped: 1 bytes received, 2 sent, dropped: wg-replay 3',
  ],
  error: [{ message: 'text', exitCode: 1 }, undefined],
};

function collect(isJson: boolean, level: Level) {
  const out: string[] = [];
  const err: string[] = [];
  const clock = { ms: 0 };
  const options = {
    isJson,
    level,
    out: (l: string) => out.push(l),
    err: (l: string) => err.push(l),
    now: () => clock.ms,
  };
  return { out, err, clock, report: createReport(options) };
}

test('the README has every event with its level and fields, and no other', () => {
  const readme = readFileSync(new URL('../../targets/cli/README.md', import.meta.url), 'utf8');
  const rows = [...readme.matchAll(/^\| `([a-z-]+)` \| (error|warn|info|debug) \| ([^|]*) \|/gm)];
  const documented = Object.fromEntries(
    rows.map(([, event, level, fields]) => [
      event,
      { level, fields: [...fields!.matchAll(/`(\w+)`/g)].map(m => m[1]) },
    ]),
  );
  const coded = Object.fromEntries(
    Object.entries(EVENTS).map(([name, { level, fields }]) => [name, { level, fields }]),
  );
  assert.equal(documented, coded);
});

test('JSON lines have the event, the time and exactly the fields of the table', () => {
  const { report, out, err } = collect(true, 'debug');
  for (const [name, [fields]] of Object.entries(SAMPLES)) report(name as 'open', fields as Events['open']);
  assert.is(err.length, 0);
  assert.is(out.length, Object.keys(EVENTS).length);
  for (const line of out) {
    const { event, time, ...fields } = JSON.parse(line);
    assert.is(time, '1970-01-01T00:00:00.000Z');
    assert.equal(Object.keys(fields).sort(), [...EVENTS[event as keyof Events].fields].sort(), event);
    assert.equal(fields, SAMPLES[event as keyof Events][0]);
  }
});

test('for people, only ready goes to standard output', () => {
  const { report, out, err } = collect(false, 'debug');
  for (const [name, [fields]] of Object.entries(SAMPLES)) report(name as 'open', fields as Events['open']);
  assert.equal(out, [SAMPLES.ready[1]]);
  const expected = Object.entries(SAMPLES).flatMap(([name, [, text]]) =>
    name === 'ready' || text === undefined ? [] : [text],
  );
  assert.equal(err, expected);
});

test('a level hides what is below it, but never ready and error', () => {
  const told = (level: Level) => {
    const { report, out } = collect(true, level);
    for (const [name, [fields]] of Object.entries(SAMPLES)) report(name as 'open', fields as Events['open']);
    return out.map(line => JSON.parse(line).event);
  };
  assert.equal(told('error'), ['auth-url', 'ready', 'error']);
  assert.equal(told('warn'), [
    'auth-url',
    'open-url',
    'expiring',
    'warning',
    'ignored',
    'ready',
    'gave-up',
    'trouble',
    'refused',
    'error',
  ]);
  assert.not(told('info').includes('open'));
  assert.ok(told('debug').includes('open'));
});

test('who knocks all day does not fill the log', () => {
  const { report, err, clock } = collect(false, 'info');
  for (let i = 0; i < 1000; i++) report('refused', SAMPLES.refused[0]);
  assert.is(err.length, 21);
  assert.is(err[20], 'warning: further "refused" messages are left out for 10 seconds');
  report('handshake', SAMPLES.handshake[0]);
  assert.is(err.length, 22);
  clock.ms = 9_999;
  report('refused', SAMPLES.refused[0]);
  assert.is(err.length, 22);
  clock.ms = 10_000;
  report('refused', SAMPLES.refused[0]);
  assert.is(err.length, 23);
});

test.run();
