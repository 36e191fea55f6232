/** What the control client answers to pings, and the small parts of it that stand alone. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toBase64, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { AnswerReader, isWebUrl, parseServerKey, shownText } from '../../lib/control/client-answer.ts';
import { ExpiryClock } from '../../lib/control/client-expiry.ts';
import { NodeKeys } from '../../lib/control/client-keys.ts';
import { Backoff, fraction, retryAfterMs } from '../../lib/control/client-retry.ts';
import { counting, Story } from './client-support.ts';
import { noble, secretOf } from './support.ts';

const test = suite('control client: parts');

/** What a ping led to: method, path and body of a request. */
function answerTo(ping: object): string | undefined {
  const story = new Story().run();
  story.send({ PingRequest: ping });
  const asked = story.of('other')[0]?.request;
  assert.is(story.client.state, 'running');
  return asked === undefined ? undefined : `${asked.method} ${asked.path} ${utf8Decode(asked.body)}`.trim();
}

const c2n = (text: string) => ({
  URL: 'https://unused/c2n/1',
  URLIsNoise: true,
  Types: 'c2n',
  Payload: toBase64(utf8Encode(text)),
});

test('a ping through the encrypted connection is answered there, wherever its address points', () => {
  assert.is(answerTo({ URL: 'https://control.test/machine/ping?id=1', URLIsNoise: true }), 'HEAD /machine/ping?id=1');
  assert.is(answerTo({ URL: 'http://elsewhere.test', URLIsNoise: true }), 'HEAD /');
  assert.is(answerTo({ URL: 'http://elsewhere.test?a=%20', URLIsNoise: true }), 'HEAD /?a=%20');
});

test('no ping leads outside, to the endpoints of the connection, or to what is no address', () => {
  assert.is(answerTo({ URL: 'https://control.test/machine/ping?id=1' }), undefined);
  for (const URL of [
    'https://x/machine/register',
    'https://x/machine/map?x',
    'https://x/a/../machine/map',
    'https://x//machine/map',
    'https://x/machine%2fmap',
    'ftp://x/y',
    'x',
    '',
    'https://x/a b',
    'https://x/a#b',
    'https://x/\r\nHost: y',
    `https://x/${'y'.repeat(1024)}`,
  ])
    assert.is(answerTo({ URL, URLIsNoise: true }), undefined, URL);
});

test('an echo is answered as a whole HTTP answer, other paths with 400', () => {
  assert.is(
    answerTo(c2n('POST /echo HTTP/1.1\r\nHost: x\r\n\r\nhello\r\n\r\nthere')),
    'POST /c2n/1 HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\nConnection: close\r\n\r\nhello\r\n\r\nthere',
  );
  assert.match(answerTo({ ...c2n('GET /echo HTTP/1.1\r\n\r\n'), URLIsNoise: false })!, /^POST \/c2n\/1 /);
  assert.match(answerTo(c2n('GET /debug/prefs HTTP/1.0\r\n\r\n'))!, /^POST \/c2n\/1 HTTP\/1\.1 400 Bad Request/);
  for (const text of [
    '',
    'GET /echo',
    'get /echo HTTP/1.1\r\n\r\n',
    'GET /echo HTTP/2\r\n\r\n',
    'GET /echo HTTP/1.1\r\n',
  ])
    assert.is(answerTo(c2n(text)), undefined, text);
  assert.is(answerTo({ ...c2n(''), Payload: 'not base64' }), undefined);
});

test('a kind of ping that is not supported is answered so', () => {
  const answer = answerTo({ URL: 'https://x/p', URLIsNoise: true, Types: 'disco,TSMP', IP: '100.64.0.1' })!;
  assert.is(answer, 'POST /p {"Type":"disco","IP":"100.64.0.1","Err":"this kind of ping is not supported"}');
});

test('a ping that comes again is not answered again, and one at a time', () => {
  const story = new Story();
  story.run();
  story.update = () => 0;
  const ping = (n: number) => story.send({ PingRequest: { URL: `https://x/${n}`, URLIsNoise: true } });
  ping(1);
  ping(2);
  assert.is(story.of('other').length, 1);
  story.server!.answer(story.last('other').request.id, 204, '');
  story.run();
  ping(1);
  assert.is(story.of('other').length, 1);
  ping(3);
  assert.is(story.of('other').length, 2);
  story.wait(30_000);
  ping(4);
  assert.is(story.of('other').length, 3, 'one that is never answered does not block for ever');
});

test('a text for people is one line, cut, printable, and without the secret', () => {
  assert.is(shownText('  plain – ünicode 😀 ', undefined), 'plain – ünicode 😀');
  assert.is(shownText('a\u0007b\u2028c\u200bd\u{e0041}e', 'x'), 'a b c d e');
  assert.is(shownText('key abc, again abc', 'abc'), 'key [redacted], again [redacted]');
  assert.is(shownText('abc', ''), 'abc');
  assert.is(shownText('y'.repeat(300), undefined).length, 201);
  assert.not.match(
    shownText(`${'y'.repeat(195)}SECRETSECRET`, 'SECRETSECRET'),
    /SECRET/,
    'nor the part of it before the cut',
  );
});

test('a web address is http or https in visible ASCII', () => {
  for (const url of ['http://a', 'HTTPS://a/b?c#d']) assert.ok(isWebUrl(url), url);
  for (const url of ['', 'http://', 'https:/a', 'data:x', 'http://a b', 'http://ä', 'http://a\n', ` http://a`])
    assert.not(isWebUrl(url), url);
});

test('the coordinator’s key is read strictly', () => {
  const good = `mkey:${'ab'.repeat(32)}`;
  const read = (text: string) => parseServerKey(utf8Encode(text));
  assert.equal(read(`{"legacyPublicKey":"","publicKey":"${good}"}`), new Uint8Array(32).fill(0xab));
  for (const text of [
    '',
    '{}',
    '[]',
    `"${good}"`,
    good,
    `{"publicKey":"${good}"`,
    `{"publicKey":"nodekey:${'ab'.repeat(32)}"}`,
  ])
    assert.type(read(text), 'string', text);
});

test('an answer keeps what the table wants, within its budget, however it is cut', () => {
  const read = (text: string, size: number, budget: number) => {
    const answer = new AnswerReader('RegisterResponse', budget);
    answer.handleHead(200, []);
    const bytes = utf8Encode(text);
    for (let at = 0; at < bytes.length; at += size) answer.handleData(bytes, at, Math.min(bytes.length, at + size));
    return answer.value;
  };
  const text = `{"User":{"ID":1},"Error":"no","X":${'[1,'.repeat(10)}1${']'.repeat(10)},"AuthURL":"http://a"}`;
  for (const size of [1, 3, 1000]) {
    assert.equal({ ...read(text, size, 1000) }, { Error: 'no', AuthURL: 'http://a' });
    assert.is(read(text, size, 60), undefined);
  }
});

test('the text of a refusal is kept to its beginning', () => {
  const answer = new AnswerReader('RegisterResponse', 1000);
  answer.handleHead(500, [
    ['retry-after', '5'],
    ['x', 'y'],
  ]);
  const bytes = utf8Encode('z'.repeat(600));
  for (let i = 0; i < 5; i++) answer.handleData(bytes, 0, bytes.length);
  assert.is(answer.text.length, 800);
  assert.equal(answer.headers, [['retry-after', '5']]);
  assert.is(answer.value, undefined);
});

test('delays double up to a limit; each is drawn from the upper half', () => {
  const least = new Backoff(out => void out.fill(0), 1000, 9000);
  const most = new Backoff(out => void out.fill(255), 1000, 9000);
  assert.equal(
    [1, 2, 3, 4, 5, 6].map(() => least.next()),
    [500, 1000, 2000, 4000, 4500, 4500],
  );
  assert.equal(
    [1, 2, 3, 4, 5].map(() => most.next()),
    [1000, 2000, 4000, 8000, 9000],
  );
  for (let i = 0; i < 2000; i++) assert.ok(least.next() <= 9000);
  assert.ok(fraction(out => void out.fill(255)) < 1);
});

test('a date to come back at is read as HTTP writes it', () => {
  const at = (text: string) => retryAfterMs([['retry-after', text]], 784_111_777_000 - 60_000, out => void out.fill(0));
  assert.is(at('Sun, 06 Nov 1994 08:49:37 GMT'), 60_000);
  assert.is(at('Sun, 06 Nov 1994 08:00:00 GMT'), 1000, 'in the past');
  assert.is(at('Sun, 06 Nov 2094 08:49:37 GMT'), 3_600_000);
  for (const text of ['Sun, 06 ovD 1994 08:49:37 GMT', 'Sun, 31 Feb 1994 08:49:37 GMT', '-5', '1e3', ''])
    assert.is(at(text), 5000, text);
});

test('a key without expiry never rotates; a new expiry plans anew, the same one does not', () => {
  const clock = new ExpiryClock(out => void out.fill(0), 1000, 5_000_000);
  assert.not(clock.isExpired(1e15));
  clock.setExpiry(1000, 14_000, true);
  assert.is(clock.rotatesUnixMs, 5_000_000 + 6_000_000);
  assert.is(clock.dueMs(clock.rotatesUnixMs), 6_001_000);
  clock.setExpiry(2000, 14_000, false);
  assert.is(clock.rotatesUnixMs, 11_000_000);
  assert.not(clock.isRotationDue(6_000_999));
  assert.ok(clock.isRotationDue(6_001_000));
  clock.setExpiry(2000, 0, false);
  assert.is(clock.rotatesUnixMs, Infinity);
  clock.setExpiry(2000, 5_010, false);
  assert.is(clock.rotatesUnixMs, 5_001_000 + 600_000, 'not more often than every ten minutes');
  const late = new ExpiryClock(out => void out.fill(255), 0, 0);
  late.setExpiry(0, 100_000, true);
  assert.ok(late.rotatesUnixMs >= 63_333_333 && late.rotatesUnixMs < 63_400_000, 'up to a twentieth earlier');
});

test('the clock of the coordinator goes before the device’s, once it was heard', () => {
  const clock = new ExpiryClock(counting(), 0, 100);
  clock.setClock(50, 1000);
  assert.is(clock.unixMs(50), 1000);
  clock.setControlTime(50, 0);
  assert.is(clock.unixMs(50), 1000);
  clock.setControlTime(60, 9000);
  clock.setClock(70, 1);
  assert.is(clock.unixMs(70), 9010);
  clock.setControlTime(80, 9000);
  assert.is(clock.unixMs(80), 9020, 'an old statement is not taken for a new one');
});

test('a key is offered once, and used only when it is stored', () => {
  const keys = new NodeKeys(noble, secretOf(1), undefined);
  const key = keys.offer(counting())!;
  assert.is(keys.offer(counting()), undefined);
  assert.is(keys.next, undefined);
  assert.throws(() => keys.adopt(secretOf(2)), RangeError);
  keys.adopt(key);
  assert.throws(() => keys.adopt(key), RangeError);
  assert.is(keys.current === key, false);
  keys.promote();
  assert.is(keys.current, key);
  keys.promote();
  assert.is(keys.current, key);
  assert.is(keys.textOf(undefined), `nodekey:${'0'.repeat(64)}`);
});

test.run();
