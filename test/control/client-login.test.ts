/** How the control client registers: refusals, people, approval, expiry, new node keys, and logging out. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SecretKey } from '../../lib/crypto/keys.ts';
import { type Asked, iso, NODE_KEY, registered, Story, textOf } from './client-support.ts';
import { NOW_MS, self } from './map-support.ts';
import { secretOf } from './support.ts';

const test = suite('control client: login');
const ZERO_KEY = `nodekey:${'0'.repeat(64)}`;
const URL = 'https://control.test/register/abc';
const HOUR_MS = 3_600_000;

/** What a registration asked for: keys in short, and how. */
function asks(story: Story): string[] {
  const names = new Map([
    [ZERO_KEY, '-'],
    [NODE_KEY, 'old'],
  ]);
  story.stored.forEach((key, i) => names.set(textOf(key), `new${i + 1}`));
  return story.of('register').map(({ json }) => {
    const { NodeKey, OldNodeKey, Auth, Followup } = json as Record<string, string>;
    const parts = [names.get(NodeKey!) ?? NodeKey!, names.get(OldNodeKey!) ?? OldNodeKey!];
    return [...parts, ...(Auth === undefined ? [] : ['auth']), ...(Followup === undefined ? [] : ['followup'])].join(
      ' ',
    );
  });
}

/** A coordinator whose nodes expire `lifeMs` after they were registered with their key. */
function expiring(story: Story, lifeMs: number): void {
  const expiry = new Map<unknown, string>();
  story.map = json => {
    const key = json['NodeKey'];
    if (!expiry.has(key)) expiry.set(key, iso(story.unixMs + lifeMs));
    return { Node: self({ Key: key, KeyExpiry: expiry.get(key) }), ControlTime: iso(story.unixMs) };
  };
}

/** Lets hours pass without a message too few. */
function waitLong(story: Story, ms: number): void {
  for (let left = ms; left > 0; left -= 110_000) {
    story.wait(Math.min(left, 110_000));
    if (story.client.isConnected) story.send({ KeepAlive: true });
  }
}

test('a refusal is told in the coordinator’s words, and asked for again ever later', () => {
  const story = new Story({ authKey: 'bad' });
  story.register = () => registered({ Error: 'auth key expired' });
  story.run();
  assert.equal(story.took('state', 'login-failed'), [
    'state connecting',
    'login-failed auth key expired',
    'state needs-login',
  ]);
  assert.is(story.of('map').length, 0);
  story.wait(4999);
  assert.is(story.of('register').length, 1);
  story.wait(5001);
  assert.is(story.of('register').length, 2);
  story.wait(9999);
  assert.is(story.of('register').length, 2);
  story.register = () => registered();
  story.wait(10_001);
  assert.equal(story.took('state'), ['state connecting', 'state running']);
});

test('words that could fool a terminal are made harmless, and long ones cut', () => {
  const story = new Story();
  story.register = () => registered({ Error: `no\u001b[2J\r\nroot# \u202eyes ${'x'.repeat(500)}` });
  story.run();
  const [line] = story.took('login-failed');
  assert.match(line!, /^login-failed no \[2J {2}root# {2}yes x+…$/);
  assert.ok(line!.length < 230);
});

test('a person logs in: the page is told, the answer is waited for, and then it runs', () => {
  const story = new Story();
  story.register = json => (json['Followup'] === undefined ? registered({ AuthURL: URL }) : undefined);
  story.run();
  assert.equal(story.took('state', 'auth-url'), ['state connecting', `auth-url ${URL}`, 'state needs-login']);
  assert.equal(asks(story), ['old -', 'old - followup']);
  assert.is(story.last('register').json['Followup'], URL);
  story.wait(600_000);
  assert.is(story.of('register').length, 2, 'the answer may take its time');
  story.answer(story.last('register'), registered());
  assert.equal(story.took(), ['state connecting', 'netmap', 'state running']);
});

test('the same page again means not yet; another page replaces it', () => {
  const story = new Story();
  let page = URL;
  story.register = () => registered({ AuthURL: page });
  story.run();
  assert.is(story.of('register').length, 2);
  story.wait(499);
  assert.is(story.of('register').length, 2);
  story.wait(501);
  assert.is(story.of('register').length, 3);
  page = `${URL}2`;
  story.wait(6000);
  assert.equal(story.took('auth-url'), [`auth-url ${URL}`, `auth-url ${URL}2`]);
  assert.is(story.last('register').json['Followup'], `${URL}2`);
});

test('a coordinator that shows page after page is not asked faster than at intervals', () => {
  const story = new Story();
  let pages = 0;
  story.register = () => registered({ AuthURL: `${URL}${pages++}` });
  story.run().wait(60_000);
  assert.ok(pages >= 5 && pages <= 9, String(pages));
});

test('a login that waits survives a cut', () => {
  const story = new Story();
  story.register = json => (json['Followup'] === undefined ? registered({ AuthURL: URL }) : undefined);
  story.run().took();
  story.cut();
  assert.is(story.client.state, 'needs-login');
  story.wait(1000);
  assert.equal(asks(story), ['old -', 'old - followup', 'old - followup']);
  story.answer(story.last('register'), registered());
  assert.is(story.client.state, 'running');
  assert.equal(story.took('auth-url'), []);
});

test('a login that is never answered is asked for again after an hour', () => {
  const story = new Story();
  story.register = json => (json['Followup'] === undefined ? registered({ AuthURL: URL }) : undefined);
  story.run();
  story.wait(HOUR_MS - 1);
  assert.is(story.of('register').length, 2);
  story.wait(1001);
  assert.equal(asks(story), ['old -', 'old - followup', 'old - followup']);
});

for (const url of ['javascript:alert(1)', 'file:///etc/passwd', 'https://x/\u001b[2J', `https://x/${'y'.repeat(2048)}`])
  test(`nobody is sent to ${JSON.stringify(url.slice(0, 20))}`, () => {
    const story = new Story();
    story.register = () => registered({ AuthURL: url });
    story.run();
    assert.equal(story.took('auth-url'), []);
    assert.is(story.client.isConnected, false);
  });

test('a registration without an answer is given up after half a minute', () => {
  const story = new Story();
  story.register = () => undefined;
  story.run().took();
  story.wait(29_999);
  assert.equal(story.took(), []);
  story.wait(1);
  assert.equal(story.took(), ['error ERR_TIMED_OUT the coordinator did not answer in time']);
  assert.is(story.server!.resets.length, 1);
  story.register = () => registered();
  story.wait(1000);
  assert.is(story.client.state, 'running');
});

test('an answer that is none is an error, and tried again', () => {
  const story = new Story();
  const answers = ['', '{', '[]', 'null', '{"Error":7}', '{"AuthURL":[]}', `{"AuthURL":"${'u'.repeat(3000)}"}`, '{}x'];
  story.register = () => answers.shift() ?? registered({ AuthURL: null, Error: null, NodeKeyExpired: null });
  story.run().wait(200_000);
  assert.is(story.took('error').filter(line => /the answer to the registration cannot be read/.test(line)).length, 8);
  assert.is(story.client.state, 'running');
});

test('a status other than 200 is told with the beginning of its text', () => {
  const story = new Story();
  story.register = () => 400;
  story.run();
  assert.equal(story.took('error'), ['error ERR_PROTOCOL the coordinator answered 400 to the registration: no']);
  story.register = () => registered();
  story.wait(1000);
  assert.is(story.client.state, 'running');
});

test('a coordinator that is busy says when to come back', () => {
  const cases: [string | undefined, number, number][] = [
    ['7', 7000, 7000],
    ['0', 1000, 1000],
    ['99999', HOUR_MS, HOUR_MS],
    ['Tue, 14 Nov 2023 22:13:50 GMT', 30_000, 30_000],
    ['Tue, 14 Foo 2023 22:13:50 GMT', 5000, 10_000],
    ['soon', 5000, 10_000],
    [undefined, 5000, 10_000],
  ];
  for (const [header, least, most] of cases) {
    const story = new Story();
    assert.is(iso(story.unixMs), '2023-11-14T22:13:20.000Z');
    if (header !== undefined) story.fields = [['retry-after', header]];
    story.register = () => 429;
    story.run();
    const event = story.events.at(-1)!;
    assert.ok(
      event.type === 'error' && event.retryInMs >= least && event.retryInMs <= most,
      `${header} ${JSON.stringify(event)}`,
    );
    story.register = () => registered();
    story.fields = [];
    if (most === HOUR_MS) continue;
    story.wait(event.type === 'error' ? event.retryInMs - 1 : 0);
    assert.is(story.of('register').length, 1);
    story.wait(1);
    assert.is(story.client.state, 'running');
  }
});

test('a device that waits for approval has a netmap and an open stream, and runs once it is let in', () => {
  const story = new Story();
  story.map = json => ({ Node: self({ Key: json['NodeKey'], MachineAuthorized: false }) });
  story.run();
  assert.equal(story.took('state', 'netmap'), ['state connecting', 'netmap', 'state needs-approval']);
  assert.is(story.of('update').length, 1);
  story.send({ Node: self({ Key: NODE_KEY }) });
  assert.equal(story.took(), ['netmap', 'state running']);
  story.send({ Node: self({ Key: NODE_KEY, MachineAuthorized: false }) });
  assert.equal(story.took(), ['netmap', 'state needs-approval']);
  assert.is(story.of('register').length, 1);
});

test('a device that the coordinator does not know any more registers again with what it has', () => {
  for (const status of [401, 403, 404]) {
    const story = new Story({ authKey: 'k' });
    story.run().took();
    story.map = () => status;
    story.server!.end(story.mapId);
    story.run().wait(1000);
    assert.equal(story.took(), [
      'error ERR_CONNECTION_RESET the coordinator ended the map stream',
      'error ERR_LOGIN the coordinator does not know this device; it registers again',
      'state connecting',
    ]);
    story.map = json => ({ Node: self({ Key: json['NodeKey'] }) });
    story.wait(2000);
    assert.equal(asks(story), ['old - auth', 'old - auth']);
    assert.equal(story.took(), ['netmap', 'state running']);
    assert.is(story.of('update').length, 2, 'what it says of itself is told again');
  }
});

test('a device that is forgotten and has no auth key needs a person', () => {
  const story = new Story();
  story.run().took();
  story.map = () => 404;
  story.register = () => registered({ AuthURL: URL });
  story.server!.end(story.mapId);
  story.run().wait(4000);
  assert.is(story.client.state, 'needs-login');
});

test('a coordinator that accepts a device and then does not know it is asked ever less often', () => {
  const story = new Story();
  story.map = () => 404;
  story.run().wait(600_000);
  assert.ok(
    story.of('register').length >= 15 && story.of('register').length <= 45,
    String(story.of('register').length),
  );
  assert.is(story.connects, 1);
});

test('a refusal of the map other than that is told, and tried again', () => {
  const story = new Story();
  story.map = () => 500;
  story.run();
  assert.equal(story.took('error'), [
    'error ERR_PROTOCOL the coordinator answered 500 to the request for the map: node not found',
  ]);
  story.map = () => 429;
  story.fields = [['retry-after', '9']];
  story.wait(1000);
  story.map = json => ({ Node: self({ Key: json['NodeKey'] }) });
  story.wait(7000);
  assert.is(story.of('map').length, 2);
  story.wait(3000);
  assert.is(story.client.state, 'running');
  assert.is(story.of('register').length, 1);
});

test('a key that the coordinator calls expired is replaced: first stored, then used', () => {
  const story = new Story();
  story.mayStore = false;
  story.register = json => registered({ NodeKeyExpired: json['NodeKey'] === NODE_KEY });
  story.run();
  assert.equal(story.took('node-key', 'state'), ['state connecting', 'node-key expired']);
  story.wait(HOUR_MS);
  assert.equal(asks(story), ['old -'], 'nothing uses a key that is not stored');
  assert.equal(story.took('node-key'), [], 'it is offered once');
  const event = story.events.find(({ type }) => type === 'node-key')!;
  if (event.type !== 'node-key') throw new Error('no key');
  assert.throws(() => story.client.adoptNodeKey(story.nowMs, secretOf(1)), RangeError);
  story.stored.push(event.key);
  story.client.adoptNodeKey(story.nowMs, event.key);
  story.run();
  assert.equal(asks(story), ['old -', 'new1 old']);
  assert.equal(story.took('node-key-adopted', 'state'), ['node-key-adopted', 'state running']);
  assert.is(story.last('map').json['NodeKey'], textOf(event.key));
  assert.is(story.last('update').json['NodeKey'], textOf(event.key));
  assert.equal(
    textOf(event.key).slice(8, 16),
    Array.from(story.client.publicKey.slice(0, 4), b => b.toString(16).padStart(2, '0')).join(''),
  );
  assert.throws(() => story.client.adoptNodeKey(story.nowMs, event.key), RangeError);
});

test('a coordinator that calls new keys expired, too, gets one per attempt', () => {
  const story = new Story();
  story.register = () => registered({ NodeKeyExpired: true });
  story.run();
  assert.equal(asks(story), ['old -', 'new1 old']);
  assert.equal(story.took('login-failed', 'state'), [
    'state connecting',
    'login-failed the coordinator calls a new node key expired',
    'state needs-login',
  ]);
  story.wait(10_000);
  assert.equal(asks(story), ['old -', 'new1 old', 'old -', 'new2 old']);
  story.register = json => registered({ NodeKeyExpired: json['NodeKey'] === NODE_KEY });
  story.wait(20_000);
  assert.is(story.client.state, 'running');
});

test('a new key needs other credentials: first the auth key, then a person', () => {
  const story = new Story({ authKey: 'spent' });
  story.register = json => {
    if (json['NodeKey'] === NODE_KEY) return registered({ NodeKeyExpired: true });
    if (json['Auth'] !== undefined) return registered({ Error: 'auth key already used' });
    return json['Followup'] === undefined ? registered({ AuthURL: URL }) : undefined;
  };
  story.run();
  assert.equal(asks(story), ['old - auth', 'new1 old auth', 'new1 old', 'new1 old followup']);
  assert.is(story.client.state, 'needs-login');
});

test('before a key expires, it is replaced without a person; the old one stays until then', () => {
  const story = new Story({ authKey: 'k' });
  expiring(story, 12 * HOUR_MS);
  story.run().took();
  waitLong(story, 7.5 * HOUR_MS);
  assert.equal(story.took('node-key', 'state', 'error'), [], 'not before 95 % of two thirds');
  let seen = 0;
  story.register = () => {
    seen = story.of('map').length;
    return registered();
  };
  waitLong(story, 0.6 * HOUR_MS);
  assert.equal(story.took(), ['node-key expiring', 'node-key-adopted', 'netmap']);
  assert.equal(asks(story), ['old - auth', 'new1 old']);
  assert.is(seen, 1, 'the stream of the old key is open meanwhile');
  assert.is(story.last('map').json['NodeKey'], textOf(story.stored[0]!));
  assert.is(story.server!.resets.length, 1, 'the old stream is closed');
  assert.is(story.last('update').json['NodeKey'], textOf(story.stored[0]!));
  waitLong(story, 8.2 * HOUR_MS);
  assert.equal(asks(story).slice(2), [`new2 new1`]);
  assert.is(story.client.state, 'running');
});

test('a coordinator that renews keys only by a person is asked less and less, and the user is told', () => {
  const story = new Story();
  expiring(story, 3 * HOUR_MS);
  story.run().took();
  story.register = json => registered(json['Auth'] === undefined ? { AuthURL: URL } : {});
  waitLong(story, 3 * HOUR_MS - 60_000);
  assert.equal(story.took('auth-url', 'state', 'login-failed'), []);
  const told = story.events.filter(({ type }) => type === 'expiring');
  assert.ok(told.length >= 2 && told.length <= 8, String(told.length));
  assert.equal(told[0], { type: 'expiring', unixMs: NOW_MS + 3 * HOUR_MS });
  assert.is(story.stored.length, 1, 'one key is enough for all attempts');
  waitLong(story, 120_000);
  assert.equal(story.took('auth-url', 'state'), ['state expired', `auth-url ${URL}`, 'state needs-login']);
  assert.is(story.stored.length, 1);
});

test('rotation falls back to the auth key, and a refusal of it is no failed login', () => {
  const story = new Story({ authKey: 'k' });
  expiring(story, 3 * HOUR_MS);
  story.run().took();
  story.register = () => registered({ Error: 'no' });
  waitLong(story, 2 * HOUR_MS);
  assert.equal(asks(story), ['old - auth', 'new1 old', 'new1 old auth']);
  assert.equal(story.took('error', 'state', 'login-failed'), [
    'error ERR_LOGIN the coordinator does not renew the node key: no',
  ]);
  story.register = () => registered();
  waitLong(story, 50 * 60_000);
  assert.equal(story.took('node-key-adopted', 'state'), ['node-key-adopted']);
});

test('a key expires to the millisecond', () => {
  const story = new Story();
  expiring(story, 100_000);
  story.register = json => (json['NodeKey'] === NODE_KEY ? registered() : registered({ AuthURL: URL }));
  story.run().took();
  story.wait(99_999);
  assert.is(story.client.state, 'running');
  story.wait(1);
  assert.equal(story.took('state', 'node-key', 'auth-url'), [
    'node-key expired',
    'state expired',
    `auth-url ${URL}`,
    'state needs-login',
  ]);
});

test('an expired key is renewed with the auth key', () => {
  const story = new Story({ authKey: 'reusable' });
  expiring(story, 100_000);
  story.run().took();
  story.wait(100_000);
  assert.equal(asks(story), ['old - auth', 'new1 old auth']);
  assert.equal(story.took(), [
    'node-key expired',
    'state expired',
    'node-key-adopted',
    'state connecting',
    'netmap',
    'state running',
  ]);
});

test('a coordinator that calls every key expired gets a new one less and less often', () => {
  const story = new Story();
  story.map = json => ({
    Node: self({ Key: json['NodeKey'], KeyExpiry: iso(NOW_MS - 1000) }),
    ControlTime: iso(NOW_MS),
  });
  story.run();
  const adopted = () => story.took('node-key-adopted').length;
  assert.is(adopted(), 1, 'the first at once');
  waitLong(story, 4000);
  assert.is(adopted(), 0);
  waitLong(story, 8000);
  assert.is(adopted(), 1);
  waitLong(story, 4 * 3_600_000);
  const count = adopted();
  assert.ok(count >= 5 && count <= 18, `${count} within four hours`);
});

test('a coordinator that says expired is believed, and one that takes it back ends the login', () => {
  const story = new Story();
  story.run().took();
  story.register = json => (json['Followup'] === undefined ? registered({ AuthURL: URL }) : undefined);
  story.send({ Node: self({ Key: NODE_KEY, Expired: true }) });
  assert.is(story.client.state, 'needs-login');
  assert.ok(story.client.isConnected);
  story.took();
  story.send({ Node: self({ Key: NODE_KEY }) });
  assert.equal(story.took(), ['netmap', 'state running']);
  assert.is(story.server!.resets.length, 1, 'the waiting registration is cancelled');
});

test('the coordinator’s clock counts, not the device’s', () => {
  const story = new Story({ unixMs: 0 });
  story.unixMs = 0;
  story.map = json => ({
    Node: self({ Key: json['NodeKey'], KeyExpiry: iso(NOW_MS + 90_000) }),
    ControlTime: iso(NOW_MS),
  });
  story.run();
  assert.is(story.client.state, 'running');
  story.wait(89_999);
  assert.is(story.client.state, 'running');
  story.register = () => undefined;
  story.wait(1);
  assert.is(story.client.state, 'expired');
});

/** A story of a device that restarts with the keys that were stored. */
function restarted(nextNodeKey: SecretKey, register: Story['register'], authKey?: string): Story {
  const story = new Story({ nextNodeKey, ...(authKey === undefined ? {} : { authKey }) });
  story.stored.push(nextNodeKey);
  story.register = register;
  return story.run();
}

test('a crash after storing a new key, before or after the coordinator has heard of it, loses nothing', () => {
  const next = secretOf(0x66);
  const accepted = restarted(next, () => registered());
  assert.equal(asks(accepted), ['new1 old']);
  assert.equal(accepted.took('node-key-adopted', 'state'), ['state connecting', 'node-key-adopted', 'state running']);
  const isNew = (json: Asked['json']) => json['NodeKey'] === textOf(next);
  const person = restarted(next, json => registered(isNew(json) ? { AuthURL: URL } : {}));
  assert.equal(asks(person), ['new1 old', 'old -']);
  assert.equal(person.took('node-key-adopted', 'state', 'auth-url'), ['state connecting', 'state running']);
  assert.is(person.last('map').json['NodeKey'], NODE_KEY);
  const refused = restarted(next, json => registered(isNew(json) ? { Error: 'no' } : {}), 'k');
  assert.equal(asks(refused), ['new1 old auth', 'old - auth']);
  assert.is(refused.client.state, 'running');
  const both = restarted(next, () => registered({ Error: 'no' }));
  assert.equal(asks(both), ['new1 old', 'old -']);
  assert.is(both.client.state, 'needs-login');
});

test('a key left over by a crash that has expired is replaced by another', () => {
  const next = secretOf(0x66);
  const story = restarted(next, json => registered({ NodeKeyExpired: json['NodeKey'] === textOf(next) }));
  assert.equal(asks(story), ['new1 old', 'new2 new1']);
  assert.is(story.client.state, 'running');
});

test('a key that is stored waits for the next attempt, over lost connections', () => {
  const story = new Story();
  expiring(story, 3 * HOUR_MS);
  story.run().took();
  let cuts = 0;
  story.register = () => (cuts > 2 ? registered() : 500);
  while (cuts <= 2) {
    waitLong(story, HOUR_MS / 2);
    cuts++;
    if (story.client.isConnected) story.cut();
  }
  waitLong(story, 1.2 * HOUR_MS);
  assert.is(story.stored.length, 1);
  assert.is(story.client.state, 'running');
  assert.is(story.last('map').json['NodeKey'], textOf(story.stored[0]!));
});

test('logging out tells the coordinator, and ends', () => {
  const story = new Story({ authKey: 'k' });
  story.run().took();
  story.register = () => registered({ NodeKeyExpired: true });
  story.client.logout(story.nowMs);
  story.client.logout(story.nowMs);
  story.run();
  assert.equal(story.took(), ['disconnect', 'state logged-out', 'logged-out true']);
  const { json } = story.last('register');
  assert.equal([json['NodeKey'], json['Expiry'], json['Auth']], [NODE_KEY, '1970-01-01T00:02:03Z', undefined]);
  assert.is(story.client.nextTimeout(), Infinity);
  story.wait(HOUR_MS);
  assert.equal(story.took(), []);
});

test('logging out without a connection makes one, and gives up after 15 seconds', () => {
  const story = new Story();
  story.run();
  story.cut();
  story.took();
  story.client.logout(story.nowMs);
  story.run();
  assert.equal(story.took(), ['connect', 'disconnect', 'state logged-out', 'logged-out true']);

  const alone = new Story();
  alone.run();
  alone.cut();
  alone.mayConnect = false;
  alone.took();
  alone.client.logout(alone.nowMs);
  alone.wait(14_999);
  assert.equal(alone.took(), ['connect']);
  alone.wait(1);
  assert.equal(alone.took(), ['disconnect', 'state logged-out', 'logged-out false']);
});

test('logging out while a login waits ends that; a refusal is no confirmation', () => {
  const story = new Story({ nextNodeKey: secretOf(0x66) });
  story.register = json => (json['Expiry'] === undefined ? undefined : 500);
  story.run().took();
  story.client.logout(story.nowMs);
  story.run();
  assert.is(story.server!.resets.length, 1);
  assert.equal(story.took(), ['disconnect', 'state logged-out', 'logged-out false']);
});

test('both keys of an unfinished rotation are logged out', () => {
  const next = secretOf(0x66);
  const story = new Story({ nextNodeKey: next });
  story.register = json => (json['Expiry'] === undefined ? undefined : registered());
  story.run();
  story.client.logout(story.nowMs);
  story.run();
  const out = story.of('register').filter(({ json }) => json['Expiry'] !== undefined);
  assert.equal(
    out.map(({ json }) => json['NodeKey']),
    [NODE_KEY, textOf(next)],
  );
  assert.is(story.took('logged-out')[0], 'logged-out true');
});

test('an attempt to log out that is cut off is repeated', () => {
  const story = new Story();
  story.run();
  story.register = () => undefined;
  story.client.logout(story.nowMs);
  story.run().took();
  story.cut();
  story.register = () => registered();
  story.wait(1000);
  assert.equal(story.took().at(-1), 'logged-out true');
});

test.run();
