/** The control client against a coordinator: joining, the map stream, updates, and coming back. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { NODE_KEY, registered, Story } from './client-support.ts';
import { frames, keyText, node, self } from './map-support.ts';
import { noble, secretOf } from './support.ts';

const test = suite('control client');
const ZERO_KEY = `nodekey:${'0'.repeat(64)}`;

test('a device joins with an auth key: key, connection, registration, map, and a lite update', () => {
  const story = new Story({ authKey: 'mote-auth-1', isEphemeral: true }).run();
  assert.equal(story.took(), ['fetch-key', 'connect', 'state connecting', 'netmap', 'state running']);
  assert.equal(
    story.asked.map(({ kind, request }) => `${kind} ${request.method} ${request.path} ${request.authority}`),
    [
      'register POST /machine/register control.test:8080',
      'map POST /machine/map control.test:8080',
      'update POST /machine/map control.test:8080',
    ],
  );
  assert.equal(story.last('register').json, {
    Version: 113,
    NodeKey: NODE_KEY,
    Hostinfo: { Hostname: 'mote', OS: 'linux' },
    Ephemeral: true,
    OldNodeKey: ZERO_KEY,
    Auth: { AuthKey: 'mote-auth-1' },
  });
  const { json } = story.last('map');
  assert.equal(
    [json['Version'], json['NodeKey'], json['Stream'], json['OmitPeers'], json['KeepAlive'], json['Compress']],
    [113, NODE_KEY, true, false, true, ''],
  );
  assert.is(json['DiscoKey'], `discokey:${'77'.repeat(32)}`);
  const { json: update } = story.last('update');
  assert.equal([update['Stream'], update['OmitPeers'], update['DiscoKey']], [false, true, json['DiscoKey']]);
  assert.ok(story.client.isConnected);
  story.send({ PeersChanged: [node(7)] });
  assert.equal(story.took(), ['netmap']);
  assert.is(story.client.netmap.peers.count, 1);
});

test('without an auth key none is sent, and no flag unless it is asked for', () => {
  const story = new Story({ authKey: '' }).run();
  assert.not('Auth' in story.last('register').json);
  assert.not('Ephemeral' in story.last('register').json);
});

for (const [limits, pieceBytes] of [
  ['small', 1],
  ['small', 500],
  ['large', 13],
] as const)
  test(`bytes may come and go in pieces of ${pieceBytes} (${limits})`, () => {
    const story = new Story({ limits });
    story.pieceBytes = pieceBytes;
    story.run();
    story.send({ PeersChanged: [node(7), node(8)], PingRequest: { URL: 'http://x/ok', URLIsNoise: true } });
    assert.is(story.client.state, 'running');
    assert.is(story.client.netmap.peers.count, 2);
    assert.equal(
      story.asked.map(({ kind }) => kind),
      ['register', 'map', 'update', 'other'],
    );
  });

test('a netmap of many windows passes through a small client, which gives every byte back', () => {
  const story = new Story({ limits: 'small' });
  const peers = Array.from({ length: 250 }, (_, i) => node(i + 1));
  story.map = json => ({ Node: self({ Key: json['NodeKey'] }), Peers: peers });
  story.run();
  assert.is(story.client.netmap.peers.count, 250);
  for (let i = 0; i < 3; i++) story.send({ Peers: peers });
  assert.is(story.server!.waiting(story.mapId), 0);
  assert.is(story.client.state, 'running');
});

test('the map can be asked for again on the connection that there is: peers that are wanted come whole', () => {
  const story = new Story({ limits: 'small' });
  const peers = Array.from({ length: 250 }, (_, i) => node(i + 1));
  story.map = json => ({ Node: self({ Key: json['NodeKey'] }), Peers: peers });
  story.client.restartMap(story.nowMs);
  story.run();
  const { client } = story;
  const maps = () => story.asked.filter(({ kind }) => kind === 'map').length;
  const peerOf = (id: number) => client.netmap.peers.peerAt(client.netmap.peers.find(id));
  assert.is(maps(), 1);
  assert.is(peerOf(7).discoKey, undefined);
  client.netmap.setWanted(7, true);
  client.restartMap(story.nowMs);
  story.run();
  assert.is(maps(), 2);
  assert.is(client.isConnected, true);
  assert.is(client.state, 'running');
  assert.is(client.netmap.peers.count, 250);
  assert.ok(peerOf(7).discoKey !== undefined && peerOf(8).discoKey === undefined);
});

test('memory of a small client does not grow with a message', () => {
  const story = new Story({ limits: 'small' }).run();
  const junk = { SSHPolicy: { rules: [{ text: 'x'.repeat(100_000) }] }, PeersChanged: [node(7)] };
  const before = story.client.heldBytes;
  let most = 0;
  story.onPiece = () => void (most = Math.max(most, story.client.heldBytes));
  story.send(junk);
  assert.is(story.client.netmap.peers.count, 1);
  assert.ok(most > 0 && most - before < 16_384, `${before} ${most}`);
});

test('a public key is worked out once, not with every message', () => {
  let count = 0;
  const counted = createNobleSuite();
  const value = (out: Uint8Array, key: Uint8Array) => {
    count++;
    noble.publicKey(out, key);
  };
  Object.defineProperty(counted, 'publicKey', { value });
  const story = new Story({ suite: counted }).run();
  const before = count;
  for (let i = 0; i < 20; i++) story.send({ KeepAlive: true }, { PeersChanged: [node(7)] });
  assert.ok(before > 0);
  assert.is(count, before);
});

test('messages of one moment are one netmap event', () => {
  const story = new Story().run();
  story.took();
  story.send({ PeersChanged: [node(7)] }, { PeersChanged: [node(8)] }, { KeepAlive: true });
  assert.equal(story.took(), ['netmap']);
  const event = story.events.at(-1)!;
  assert.equal(event.type === 'netmap' && event.changes.peers, new Set([7, 8]));
});

test('netmap events that nobody takes are one event, whatever arrives in between', () => {
  const story = new Story().run();
  story.took();
  const before = story.events.length;
  const { client } = story;
  const bytes = (message: object) => {
    story.server!.write(story.mapId, frames(message));
    const plain = story.server!.take();
    story.responder!.handlePlain(0, plain, 0, plain.length);
    const out = new Uint8Array(5000);
    client.handleBytes(story.nowMs, story.unixMs, out, 0, story.responder!.pollBytes(out, 0, 5000));
  };
  bytes({ PeersChanged: [node(7)] });
  bytes({ PopBrowserURL: 'https://page.test/' });
  bytes({ PeersChanged: [node(8)] });
  story.run();
  assert.equal(story.took(), ['netmap', 'open-url https://page.test/']);
  const event = story.events[before]!;
  assert.equal(event.type === 'netmap' && event.changes.peers, new Set([7, 8]));
});

test('a message that is cut off changes nothing, and the stream begins anew', () => {
  const story = new Story().run();
  story.send({ PeersChanged: [node(7)] });
  story.took();
  const whole = frames({ PeersRemoved: [7], PeersChanged: [node(8)] });
  story.sendRaw(whole.slice(0, -3));
  assert.is(story.client.netmap.peers.count, 1);
  story.server!.end(story.mapId);
  story.run();
  assert.is(story.client.netmap.peers.find(7) >= 0, true);
  assert.equal(story.took(), ['error ERR_PROTOCOL the map stream was cut off']);
  assert.is(story.client.state, 'running');
  story.wait(1000);
  assert.is(story.of('map').length, 2);
  assert.is(story.connects, 1, 'over the same connection');
  assert.is(story.client.netmap.peers.count, 0, 'the new stream starts from nothing');
});

test('a message that cannot be read ends the stream, not the connection', () => {
  const story = new Story().run();
  story.took();
  story.send('{"Node": 7}');
  assert.match(story.took()[0]!, /^error ERR_PROTOCOL a message of the map stream cannot be used/);
  assert.is(story.server!.resets.length, 1);
  story.wait(1000);
  assert.is(story.of('map').length, 2);
  assert.is(story.connects, 1);
});

test('what it learns of itself leaves as one update, after a moment', () => {
  const story = new Story().run();
  assert.is(story.of('update').length, 1);
  const { client } = story;
  client.setEndpoints(story.nowMs, [{ address: '192.0.2.7', port: 41641, type: 1 }]);
  client.setHomeRegion(story.nowMs, 901, { '901-v4': 0.012 });
  client.setEndpoints(story.nowMs + 50, [
    { address: '192.0.2.7', port: 41641, type: 1 },
    { address: '2001:db8::7', port: 5, type: 2 },
  ]);
  story.wait(199);
  assert.is(story.of('update').length, 1);
  story.wait(1);
  assert.is(story.of('update').length, 2);
  const { json } = story.last('update');
  assert.equal(json['Endpoints'], ['192.0.2.7:41641', '[2001:db8::7]:5']);
  assert.equal(json['EndpointTypes'], [1, 2]);
  assert.equal(json['Hostinfo'], {
    Hostname: 'mote',
    OS: 'linux',
    NetInfo: { PreferredDERP: 901, DERPLatency: { '901-v4': 0.012 } },
  });
  assert.is(story.of('map').length, 1, 'the stream is left alone');
});

test('what is told again unchanged is not sent again; a new host name is', () => {
  const story = new Story().run();
  const { client } = story;
  client.setEndpoints(story.nowMs, []);
  client.setHostinfo(story.nowMs, { Hostname: 'mote', OS: 'linux' });
  story.wait(1000);
  assert.is(story.of('update').length, 1);
  client.setHostinfo(story.nowMs, { Hostname: 'other' });
  client.setHomeRegion(story.nowMs, 3);
  story.wait(200);
  client.setHomeRegion(story.nowMs, 3);
  story.wait(1000);
  assert.is(story.of('update').length, 2);
  assert.equal(story.last('update').json['Hostinfo'], { Hostname: 'other', NetInfo: { PreferredDERP: 3 } });
});

test('one update is under way at a time; what changes meanwhile follows it', () => {
  const story = new Story();
  story.update = () => 0;
  story.run();
  const [first] = story.of('update');
  story.client.setHomeRegion(story.nowMs, 3);
  story.wait(1000);
  assert.is(story.of('update').length, 1);
  story.update = () => 200;
  story.answer(first!, '{}');
  assert.is(story.of('update').length, 2);
});

test('an update that is refused or not answered is sent again, ever later', () => {
  const story = new Story();
  story.update = () => 500;
  story.run();
  const delays: number[] = [];
  for (let i = 0; i < 3; i++) {
    const [before, atMs] = [story.of('update').length, story.nowMs];
    while (story.of('update').length === before) story.wait(100);
    delays.push(story.nowMs - atMs);
  }
  assert.ok(delays[0]! <= 1000 && delays[1]! >= 1000 && delays[2]! >= 2000, delays.join());
  story.update = () => 0; // no answer
  story.wait(8000);
  assert.is(story.of('update').length, 5);
  story.update = () => 200;
  story.wait(21_000);
  assert.is(story.of('update').length, 5);
  story.wait(25_000);
  assert.is(story.of('update').length, 6);
  story.wait(60_000);
  assert.is(story.of('update').length, 6);
});

test('after a cut it comes back: no second registration, the netmap stays, everything is told again', () => {
  const story = new Story().run();
  story.send({ PeersChanged: [node(7)] });
  story.client.setHomeRegion(story.nowMs, 901);
  story.wait(300);
  story.took();
  story.cut();
  assert.equal(story.took(), ['error ERR_CONNECTION_RESET cut']);
  assert.is(story.client.netmap.peers.count, 1);
  assert.is(story.client.state, 'running');
  assert.not(story.client.isConnected);
  story.wait(1000);
  assert.equal(story.took(), ['connect', 'netmap']);
  assert.equal([story.of('register').length, story.of('map').length, story.of('update').length], [1, 2, 3]);
  const { json } = story.last('update');
  assert.equal(json['Hostinfo'], { Hostname: 'mote', OS: 'linux', NetInfo: { PreferredDERP: 901 } });
});

test('a coordinator that ends the connection is left and asked again', () => {
  const story = new Story().run();
  story.took();
  story.end();
  assert.equal(story.took(), ['disconnect', 'error ERR_CONNECTION_RESET the server closed the connection']);
  story.wait(1000);
  assert.equal(story.took(), ['connect', 'netmap']);
});

test('a coordinator that goes away is left at once', () => {
  const story = new Story().run();
  story.took();
  story.server!.goAway(0x7fffffff);
  story.run();
  assert.equal(story.took(), ['disconnect', 'error ERR_CLOSED the coordinator has asked to connect anew']);
  story.wait(1000);
  assert.equal(story.took(), ['connect', 'netmap']);
});

test('a stream that the coordinator ends is asked for again over the same connection', () => {
  const story = new Story().run();
  story.took();
  story.server!.end(story.mapId);
  story.run();
  assert.equal(story.took(), ['error ERR_CONNECTION_RESET the coordinator ended the map stream']);
  story.wait(1000);
  assert.equal(story.took(), ['netmap']);
  story.server!.reset(story.mapId, 2);
  story.run();
  assert.match(story.took()[0]!, /^error ERR_CONNECTION_RESET/);
  story.wait(2000);
  assert.equal(story.took(), ['netmap']);
  assert.is(story.connects, 1);
});

test('two minutes without a message end the connection, and not a millisecond less', () => {
  const story = new Story().run();
  story.wait(60_000);
  story.send({ KeepAlive: true });
  story.took();
  story.wait(119_999);
  assert.equal(story.took(), []);
  story.wait(1);
  assert.equal(story.took(), ['disconnect', 'error ERR_TIMED_OUT the coordinator was silent for two minutes']);
  story.wait(1000);
  assert.equal(story.took(), ['connect', 'netmap']);
});

test('bytes that are no whole message do not count as life, nor do answers to HTTP/2 pings', () => {
  const story = new Story().run();
  story.wait(100_000);
  story.sendRaw(frames({ KeepAlive: true }).slice(0, 8));
  assert.ok(story.server!.pings > 0);
  story.took();
  story.wait(20_000);
  assert.equal(story.took(), ['disconnect', 'error ERR_TIMED_OUT the coordinator was silent for two minutes']);
});

test('a map that never opens is given up after two minutes, too', () => {
  const story = new Story();
  story.map = () => undefined;
  story.run().took();
  story.wait(119_999);
  assert.equal(story.took(), []);
  story.wait(1);
  assert.is(story.took()[0], 'disconnect');
});

test('delays grow to half a minute, with a random part, and start anew after a good connection', () => {
  const story = new Story().run();
  const delays: number[] = [];
  const fail = () => {
    story.took();
    story.cut();
    const event = story.events.at(-1)!;
    if (event.type !== 'error') throw new Error(event.type);
    delays.push(event.retryInMs);
    const connects = story.connects;
    story.wait(event.retryInMs - 1);
    assert.is(story.connects, connects);
    story.wait(1);
    assert.is(story.connects, connects + 1);
  };
  for (let i = 0; i < 9; i++) fail();
  const most = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000];
  delays.forEach((delay, i) => assert.ok(delay >= most[i]! / 2 && delay <= most[i]!, `${i}: ${delay}`));
  assert.ok(new Set(delays.slice(5)).size > 1);
  story.wait(59_000);
  fail();
  assert.ok(delays.at(-1)! >= 15_000, 'a short life does not count');
  story.wait(60_000);
  fail();
  assert.ok(delays.at(-1)! <= 1000);
});

test('a server that cannot prove the published key is asked for its key again', () => {
  const story = new Story();
  story.serverByte = 0x34;
  story.run();
  assert.equal(story.took(), [
    'fetch-key',
    'connect',
    'state connecting',
    'disconnect',
    'error ERR_CONNECTION_REFUSED the control server refused the handshake: the handshake does not fit the key of this server',
  ]);
  story.publishedByte = 0x34;
  story.wait(1000);
  assert.equal(story.took(), ['fetch-key', 'connect', 'netmap', 'state running']);
});

test('a stream that cannot be opened is tried again, with the same key', () => {
  const story = new Story();
  story.mayConnect = false;
  story.run().took();
  story.client.handleFailed(story.nowMs, new NetError('ERR_CONNECTION_REFUSED', 'refused'));
  story.run();
  assert.equal(story.took(), ['error ERR_CONNECTION_REFUSED refused']);
  story.mayConnect = true;
  story.wait(1000);
  assert.equal(story.took(), ['connect', 'netmap', 'state running']);
});

test('a key that cannot be fetched or is none is asked for again', () => {
  const story = new Story();
  story.mayFetch = false;
  story.run();
  assert.equal(story.took(), ['fetch-key']);
  assert.is(story.client.state, 'starting');
  const encode = (text: string) => Uint8Array.from(text, c => c.charCodeAt(0));
  const { client } = story;
  const answers: [Uint8Array | undefined, RegExp][] = [
    [undefined, /^error ERR_UNREACHABLE the coordinator’s key cannot be fetched/],
    [encode('<html>'), /^error ERR_PROTOCOL what answers for the coordinator does not publish a key/],
    [encode('{"publicKey":7}'), /does not publish a key/],
    [encode(`{"publicKey":"${keyText(3)}"}`), /does not publish a key/],
    [encode(`{"publicKey":"mkey:${'0'.repeat(64)}"}`), /too old/],
    [encode(`{"publicKey":"mkey:${'1'.repeat(64)}"}${' '.repeat(65_536)}`), /too large/],
  ];
  for (const [body, expected] of answers) {
    client.handleServerKey(story.nowMs, body);
    story.run();
    assert.match(story.took()[0]!, expected);
    story.wait(30_000);
    assert.equal(story.took(), ['fetch-key']);
  }
  story.mayFetch = true;
  client.handleServerKey(story.nowMs, encode(`{"publicKey":"${story.published}","x":[{}]}`));
  story.run();
  assert.is(client.state, 'running');
});

test('a caller that does not do what was asked for is asked again after a minute', () => {
  const story = new Story();
  story.mayFetch = story.mayConnect = false;
  story.run().took();
  story.wait(59_999);
  assert.equal(story.took(), []);
  story.wait(1);
  assert.match(story.took()[0]!, /^error ERR_TIMED_OUT/);
  story.mayFetch = true;
  story.wait(1000);
  assert.equal(story.took(), ['fetch-key', 'connect', 'state connecting']);
  story.wait(60_000);
  assert.equal(story.took('disconnect', 'error'), [
    'disconnect',
    'error ERR_TIMED_OUT the coordinator cannot be reached in time',
  ]);
  story.wait(2000);
  story.open();
  story.run();
  assert.is(story.client.state, 'running');
});

test('a handshake that does not come to an end is given up', () => {
  const story = new Story();
  story.mayConnect = false;
  story.run();
  story.client.handleOpened(story.nowMs);
  story.took();
  story.wait(9999);
  assert.equal(story.took(), []);
  story.wait(1);
  assert.match(story.took().join(), /^disconnect,error ERR_TIMED_OUT/);
});

test('stopping ends the connection, and nothing follows', () => {
  const story = new Story().run();
  story.took();
  story.client.stop(story.nowMs);
  story.run();
  assert.equal(story.took(), ['disconnect', 'state stopped']);
  assert.is(story.client.nextTimeout(), Infinity);
  story.client.stop(story.nowMs);
  story.client.logout(story.nowMs);
  story.client.handleServerKey(story.nowMs, undefined);
  story.client.handleOpened(story.nowMs);
  story.client.handleFailed(story.nowMs, new NetError('ERR_CLOSED', 'x'));
  story.client.handleEnd(story.nowMs);
  story.client.handleBytes(story.nowMs, story.unixMs, new Uint8Array(5), 0, 5);
  story.client.handleTimeout(story.nowMs + 1e6, story.unixMs);
  assert.is(story.client.pollBytes(story.nowMs, new Uint8Array(50), 0, 50), 0);
  assert.is(story.client.pollEvent(), undefined);
});

test('a page that the coordinator wants to be seen is told once, and only a web page', () => {
  const story = new Story().run();
  story.took();
  story.send({ PopBrowserURL: 'https://page.test/1' }, { KeepAlive: true });
  story.send({ PopBrowserURL: 'https://page.test/1' });
  story.send({ PopBrowserURL: 'javascript:alert(1)' });
  story.send({ PopBrowserURL: 'https://page.test/2' });
  assert.equal(story.took('open-url'), ['open-url https://page.test/1', 'open-url https://page.test/2']);
});

test('the caller’s mistakes are told', () => {
  const story = new Story().run();
  assert.throws(() => new Story({ discoKey: new Uint8Array(31) }), /"discoKey" expected 32 bytes, got 31/);
  assert.throws(() => story.client.adoptNodeKey(0, secretOf(9)), /"key" expected the key of the last node-key event/);
});

test('the same inputs give the same bytes', () => {
  const outputs = [0, 1].map(() => {
    const story = new Story({ authKey: 'x' });
    story.mayConnect = false;
    story.run();
    story.client.handleOpened(story.nowMs);
    const out = new Uint8Array(5000);
    return String(out.subarray(0, story.client.pollBytes(story.nowMs, out, 0, 5000)));
  });
  assert.is(outputs[0], outputs[1]);
  assert.ok(outputs[0]!.length > 100);
});

test('nothing secret is in any event, error or state', () => {
  const story = new Story({ authKey: 'mote-auth-verysecret' });
  story.register = () => registered({ Error: 'invalid key mote-auth-verysecret for you' });
  story.run().wait(60_000);
  const all = JSON.stringify(story.events) + story.log.join();
  assert.not.match(all, /verysecret/);
  assert.match(all, /invalid key \[redacted\] for you/);
  story.register = () => 400;
  story.wait(60_000);
  assert.not.match(JSON.stringify(story.events) + story.log.join(), /verysecret/);
});

test.run();
