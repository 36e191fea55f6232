import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BODY_CHUNKED, BODY_UNTIL_CLOSE } from '../../lib/mote/http-head.ts';
import { createRequestParser, createResponseParser } from '../../lib/mote/http-parser.ts';
import {
  HTTP_LIMITS_LARGE,
  HTTP_LIMITS_SMALL,
  type HttpLimits,
  latin1Decode,
  latin1Encode,
} from '../../lib/mote/http-syntax.ts';
import { seeded } from './http-support.ts';

const test = suite('http parser');

type Cut = 'whole' | 'bytes' | (() => number);

/** Feeds a stream and notes every event as one line; data events that follow each other become one. */
function parse(
  role: 'request' | 'response',
  text: string,
  o: { cut?: Cut; limits?: HttpLimits; methods?: string[]; isOpen?: boolean } = {},
): string[] {
  const limits = o.limits ?? HTTP_LIMITS_LARGE;
  const parser = role === 'request' ? createRequestParser(limits) : createResponseParser(limits);
  const methods = [...(o.methods ?? [])];
  const seen: string[] = [];
  let data = '';
  const drain = () => {
    for (let event = parser.poll(); event !== undefined; event = parser.poll()) {
      if (event.type === 'data') {
        data += latin1Decode(event.bytes, 0, event.bytes.length);
        continue;
      }
      if (data !== '') seen.push(`data ${data}`);
      data = '';
      if (event.type === 'fault') seen.push(`fault ${event.fault.status} ${event.fault.reason}`);
      else if (event.type === 'head') seen.push(describe(event.head));
      else if (event.type === 'end') {
        seen.push(event.trailers.count > 0 ? `end ${event.trailers.names.join()}` : 'end');
        parser.method = methods.shift() ?? 'GET';
        parser.next();
      } else seen.push(event.type);
    }
  };
  parser.method = methods.shift() ?? 'GET';
  for (const piece of cutText(text, o.cut ?? 'whole')) {
    parser.feed(latin1Encode(piece));
    drain();
  }
  if (o.isOpen !== true) {
    parser.finish();
    drain();
  }
  return seen;
}

function describe(head: object): string {
  const { method, target, status, statusText, minor, headers, bodyBytes } = head as Record<string, never> & {
    headers: { names: string[]; values: string[] };
  };
  const fields = headers.names.map((name, i) => `${name}=${headers.values[i]}`).join(';');
  const length = bodyBytes === BODY_CHUNKED ? 'chunked' : bodyBytes === BODY_UNTIL_CLOSE ? 'until-close' : bodyBytes;
  return `${method ?? status} ${target ?? statusText} 1.${minor} [${fields}] ${length}`;
}

function cutText(text: string, cut: Cut): string[] {
  if (cut === 'whole') return [text];
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    const length = cut === 'bytes' ? 1 : Math.max(1, cut());
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  return pieces;
}

/** Text whose only event, whole and byte by byte, is this fault. */
function refused(
  text: string,
  fault: string,
  limits: HttpLimits = HTTP_LIMITS_LARGE,
  role: 'request' | 'response' = 'request',
) {
  assert.equal(parse(role, text, { limits }), [`fault ${fault}`]);
  assert.equal(parse(role, text, { limits, cut: 'bytes' }), [`fault ${fault}`]);
}

const HOST = 'Host: a\r\n';

test('a request without content is a head and an end', () => {
  const text = 'GET /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nX-Two:  two words \t\r\nEmpty:\r\n\r\n';
  const head = 'GET /x?y=1 1.1 [host=a.example:8080;x-two=two words;empty=] 0';
  assert.equal(parse('request', text), [head, 'end', 'closed']);
  assert.equal(parse('request', text, { cut: 'bytes' }), [head, 'end', 'closed']);
});

test('content has the length that the head says, and pipelined requests follow in order', () => {
  const one = `POST /1 HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`;
  const two = `\r\nGET /2 HTTP/1.0\r\n\r\n`;
  const expected = ['POST /1 1.1 [host=a;content-length=3] 3', 'data abc', 'end', 'GET /2 1.0 [] 0', 'end', 'closed'];
  assert.equal(parse('request', one + two), expected);
  assert.equal(parse('request', one + two, { cut: 'bytes' }), expected);
});

test('chunks with extensions and trailers are put together', () => {
  const text = `PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n`;
  const expected = [
    'PUT / 1.1 [host=a;transfer-encoding=Chunked] chunked',
    'data abc0123456789',
    'end x-sum',
    'closed',
  ];
  assert.equal(parse('request', text), expected);
  assert.equal(parse('request', text, { cut: 'bytes' }), expected);
});

test('a response ends by length, by chunks or with the connection', () => {
  const length = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';
  const chunked = 'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n';
  const open = 'HTTP/1.0 200\r\n\r\nuntil the end';
  assert.equal(parse('response', length + chunked + open), [
    '200 OK 1.1 [content-length=2] 2',
    'data hi',
    'end',
    '404 Not Found 1.1 [transfer-encoding=chunked] chunked',
    'data hi',
    'end',
    '200  1.0 [] until-close',
    'data until the end',
    'end',
    'closed',
  ]);
});

test('a response to HEAD, an interim one, 204 and 304 have no content whatever the head says', () => {
  const head = (status: number) => `HTTP/1.1 ${status} X\r\nContent-Length: 9\r\n\r\n`;
  const seen = parse('response', head(100) + head(200) + head(204) + head(304), { methods: ['GET', 'HEAD'] });
  assert.equal(
    seen.filter(line => line !== 'end'),
    [100, 200, 204, 304].map(status => `${status} X 1.1 [content-length=9] 0`).concat('closed'),
  );
});

test('a content length and a transfer coding together are refused, in requests and responses', () => {
  const both = 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  refused(`POST / HTTP/1.1\r\n${HOST}${both}`, '400 te-and-cl');
  refused(`HTTP/1.1 200 OK\r\n${both}`, '400 te-and-cl', HTTP_LIMITS_LARGE, 'response');
});

test('content lengths that differ are refused, equal ones count once', () => {
  const post = (fields: string) => `POST / HTTP/1.1\r\n${HOST}${fields}\r\n\r\nabcd`;
  refused(post('Content-Length: 3\r\nContent-Length: 4'), '400 duplicate-length');
  refused(post('Content-Length: 3, 4'), '400 duplicate-length');
  refused(post('Content-Length: 4, 4\r\nContent-Length: 5'), '400 duplicate-length');
  assert.is(parse('request', post('Content-Length: 4\r\nContent-Length: 4'))[1], 'data abcd');
});

test('a content length is decimal digits and nothing else', () => {
  for (const bad of ['-1', '+1', '1.0', '0x10', '1e3', '', ' ', '3 3', '9999999999999999', '٣', '3;'])
    refused(
      `POST / HTTP/1.1\r\n${HOST}Content-Length: ${bad === '٣' ? '\xd9\xa3' : bad}\r\n\r\n`,
      '400 content-length',
    );
});

test('a transfer coding other than a single chunked is refused', () => {
  const post = (fields: string, version = '1.1') => `POST / HTTP/${version}\r\n${HOST}${fields}\r\n\r\n0\r\n\r\n`;
  refused(post('Transfer-Encoding: chunked, gzip'), '400 te-not-chunked');
  refused(post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked'), '400 te-not-chunked');
  refused(post('Transfer-Encoding: xchunked'), '400 te-not-chunked');
  refused(post('Transfer-Encoding: "chunked"'), '400 te-not-chunked');
  refused(post('Transfer-Encoding: \x0bchunked'), '400 field-value');
  refused(post('Transfer-Encoding:'), '400 te-not-chunked');
  refused(post('Transfer-Encoding: gzip, chunked'), '501 te-unknown');
  refused(post('Transfer-Encoding: chunked', '1.0'), '400 te-http10');
});

test('a blank before the colon, a line without a colon, an empty name and a folded line are refused', () => {
  for (const field of [
    'Content-Length : 3',
    'NoColon',
    ': value',
    ' folded',
    '\tfolded',
    'X Y: z',
    'X\x00: z',
    'X\xe9: z',
    'X(: z',
  ])
    refused(`GET / HTTP/1.1\r\n${field}\r\n${HOST}\r\n`, '400 field-name');
  refused(`GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n`, '400 field-name');
  refused(`HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n`, '400 field-name', HTTP_LIMITS_LARGE, 'response');
});

test('control characters in a value are refused, bytes above 0x7f are kept', () => {
  for (const bad of ['\x00', '\x0d', '\x0b', '\x1f', '\x7f'])
    refused(`GET / HTTP/1.1\r\n${HOST}X: a${bad}b\r\n\r\n`, '400 field-value');
  assert.is(parse('request', `GET / HTTP/1.1\r\n${HOST}X: \xa0\xe9\r\n\r\n`)[0], 'GET / 1.1 [host=a;x=\xa0\xe9] 0');
});

test('a line that ends without CR is refused wherever it stands', () => {
  refused(`GET / HTTP/1.1\n${HOST}\r\n`, '400 bare-lf');
  refused(`GET / HTTP/1.1\r\nHost: a\n\r\n`, '400 bare-lf');
  refused(`GET / HTTP/1.1\r\n${HOST}\n`, '400 bare-lf');
  refused('\nGET / HTTP/1.1\r\n', '400 bare-lf');
  const chunked = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
  assert.is(parse('request', `${chunked}3\nabc\r\n0\r\n\r\n`)[1], 'fault 400 bare-lf');
  assert.is(parse('request', `${chunked}0\r\nX: y\n\r\n`)[1], 'fault 400 bare-lf');
});

test('a request line has three words, a token, a target and a version', () => {
  for (const line of ['GET /', 'GET  / HTTP/1.1', 'GET / HTTP/1.1 ', ' GET / HTTP/1.1', 'GET /a b HTTP/1.1', 'GET'])
    refused(`${line}\r\n${HOST}\r\n`, '400 request-line');
  for (const method of ['G(T', 'GÉT', 'GET:', '\x16\x03\x01', '"GET"', 'G\x00T'])
    refused(`${method} / HTTP/1.1\r\n${HOST}\r\n`, '400 method');
  refused(`${'M'.repeat(25)} / HTTP/1.1\r\n${HOST}\r\n`, '501 method-unknown');
  for (const target of ['x', 'ftp://a/', '/a#b', '/a\x00', '/\xe9', '/\x7f', '*', 'http://', 'http:///x', '?q', 'a:80'])
    refused(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`, '400 target');
  refused(`CONNECT /x HTTP/1.1\r\n${HOST}\r\n`, '400 target');
  refused(`CONNECT u@a:80 HTTP/1.1\r\n${HOST}\r\n`, '400 target');
  for (const target of ['/', '//x', 'http://a/', 'HTTPS://a', '/%zz?a=[1]|{}^`"<>'])
    assert.match(parse('request', `GET ${target} HTTP/1.1\r\n${HOST}\r\n`)[0]!, 'GET ');
  assert.match(parse('request', `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`)[0]!, 'OPTIONS *');
  assert.match(parse('request', `CONNECT a:80 HTTP/1.1\r\n${HOST}\r\n`)[0]!, 'CONNECT a:80');
});

test('versions other than HTTP/1 are named as such', () => {
  refused('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '505 version-unknown');
  refused(`GET / HTTP/0.9\r\n${HOST}\r\n`, '505 version-unknown');
  for (const version of ['http/1.1', 'HTTP/1', 'HTTP/11.1', 'HTTP/1.1x', 'HTTP/1.', 'ICY/1.1'])
    refused(`GET / ${version}\r\n${HOST}\r\n`, '400 version');
  assert.match(parse('request', `GET / HTTP/1.9\r\n${HOST}\r\n`)[0]!, 'GET / 1.1');
});

test('an HTTP/1.1 request has exactly one Host, which cannot hide anything', () => {
  refused('GET / HTTP/1.1\r\n\r\n', '400 host-missing');
  refused('GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', '400 host-duplicate');
  refused('GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n', '400 host-duplicate');
  for (const host of ['u@a', 'a/b', 'a b', 'a?b', 'a#b', 'a\\b', 'a"', 'a<', 'é'])
    refused(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, '400 host');
  for (const host of ['a', '[fd00::1]:80', '', '10.0.0.1:8080', 'a_b.example'])
    assert.match(parse('request', `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)[0]!, `[host=${host}]`);
});

test('a status line has a version, three digits and perhaps a reason', () => {
  for (const line of [
    'HTTP/1.1 20',
    'HTTP/1.1 2000',
    'HTTP/1.1  200',
    'HTTP/1.1 099 X',
    'HTTP/1.1 600 X',
    'HTTP/1.1',
    'HTTP/1.1 200OK',
  ])
    refused(`${line}\r\n\r\n`, '400 status-line', HTTP_LIMITS_LARGE, 'response');
  refused('HTTP/1.1 200 a\x00b\r\n\r\n', '400 status-line', HTTP_LIMITS_LARGE, 'response');
  refused('SSH-2.0-OpenSSH_9.6\r\n', '400 version', HTTP_LIMITS_LARGE, 'response');
  refused('\r\nHTTP/1.1 200 OK\r\n\r\n', '400 version', HTTP_LIMITS_LARGE, 'response');
});

test('the request line, the fields together and their number are limited to the byte', () => {
  const limits: HttpLimits = { ...HTTP_LIMITS_SMALL, startLineBytes: 40, headBytes: 100, headerCount: 3 };
  const line = (bytes: number) => `GET /${'x'.repeat(bytes - 16)} HTTP/1.1\r\n`;
  assert.is(line(40).length, 40);
  assert.is(parse('request', `${line(40)}${HOST}\r\n`, { limits }).length, 3);
  refused(`${line(41)}${HOST}\r\n`, '414 start-line-limit', limits);
  refused('x'.repeat(41), '414 start-line-limit', limits);
  const fields = (bytes: number) => `${line(20)}${HOST}X: ${'y'.repeat(bytes - 20 - 9 - 7)}\r\n\r\n`;
  assert.is(fields(100).length, 100);
  assert.is(parse('request', fields(100), { limits }).length, 3);
  refused(fields(101), '431 head-limit', limits);
  refused(`${line(20)}${'x'.repeat(81)}`, '431 head-limit', limits);
  assert.is(parse('request', `${line(20)}${HOST}A:\r\nB:\r\n\r\n`, { limits }).length, 3);
  refused(`${line(20)}${HOST}A:\r\nB:\r\nC:\r\n\r\n`, '431 header-count', limits);
});

test('an endless line is not kept beyond its limit', () => {
  const parser = createRequestParser(HTTP_LIMITS_SMALL);
  const chunk = new Uint8Array(100).fill(65);
  for (let fed = 0; fed < 1000; fed += 100) {
    parser.feed(chunk);
    assert.is(parser.poll(), undefined);
  }
  parser.feed(chunk);
  assert.is(parser.poll()?.type, 'fault');
  parser.feed(chunk);
  assert.is(parser.poll(), undefined);
  assert.not(parser.hasLeftover);
});

test('trailers count towards the limits of the head and obey its syntax', () => {
  const limits: HttpLimits = { ...HTTP_LIMITS_SMALL, headerCount: 3 };
  const head = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n`;
  const last = (trailers: string) => parse('request', `${head}${trailers}\r\n`, { limits }).slice(1);
  assert.equal(last('A: 1\r\n'), ['end a', 'closed']);
  assert.equal(last('A: 1\r\nB: 2\r\n'), ['fault 431 header-count']);
  assert.equal(last('A : 1\r\n'), ['fault 400 field-name']);
  assert.equal(last(`A: ${'x'.repeat(5000)}\r\n`), ['fault 431 head-limit']);
});

test('content over the limit is refused: by its announced length, by its chunks, or as it comes', () => {
  const limits: HttpLimits = { ...HTTP_LIMITS_SMALL, bodyBytes: 10 };
  const post = (length: number) => `POST / HTTP/1.1\r\n${HOST}Content-Length: ${length}\r\n\r\n${'x'.repeat(length)}`;
  assert.is(parse('request', post(10), { limits })[1], 'data xxxxxxxxxx');
  refused(post(11), '413 content-limit', limits);
  const chunked = (size: string) =>
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n${size}\r\nfghijk\r\n0\r\n\r\n`;
  assert.equal(parse('request', chunked('6'), { limits }).slice(1), ['data abcde', 'fault 413 content-limit']);
  assert.equal(parse('request', chunked('fffffffffffff'), { limits }).slice(1), [
    'data abcde',
    'fault 413 content-limit',
  ]);
  const open = `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(11)}`;
  assert.equal(parse('response', open, { limits }).slice(1), ['data xxxxxxxxxx', 'fault 413 content-limit']);
  assert.equal(parse('response', open.slice(0, -1), { limits }).slice(1), ['data xxxxxxxxxx', 'end', 'closed']);
});

test('a chunk size is hexadecimal digits, and a chunk is as long as it says', () => {
  const post = (chunks: string) =>
    parse('request', `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunks}`).slice(1);
  for (const size of ['', ' 3', '3 ', '0x3', '-3', '+3', '3g', ';a', '3 ;a', 'ffffffffffffff', '\x003'])
    assert.equal(post(`${size}\r\nabc\r\n0\r\n\r\n`), ['fault 400 chunk-size'], size);
  assert.equal(post('3;a\x01\r\nabc\r\n0\r\n\r\n'), ['fault 400 chunk-ext']);
  assert.equal(post('3;a\rb\r\nabc\r\n0\r\n\r\n'), ['fault 400 chunk-ext']);
  assert.equal(post('2\r\nabc\r\n0\r\n\r\n'), ['data ab', 'fault 400 chunk-end']);
  assert.equal(post('3\r\nabcX\n0\r\n\r\n'), ['data abc', 'fault 400 bare-lf']);
  assert.equal(post(`3;${'x'.repeat(1100)}\r\nabc\r\n0\r\n\r\n`), ['fault 400 chunk-line-limit']);
});

test('chunk extensions are limited over the whole message', () => {
  const chunk = `1;${'x'.repeat(99)}\r\na\r\n`;
  const head = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
  assert.is(parse('request', `${head}${chunk.repeat(163)}0\r\n\r\n`)[2], 'end');
  assert.is(parse('request', `${head}${chunk.repeat(164)}0\r\n\r\n`)[2], 'fault 400 chunk-ext-limit');
});

test('a stream that ends in the middle of a message is a fault, between messages it is not', () => {
  const texts = ['G', 'GET / HTTP/1.1\r\n', `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nab`];
  const chunked = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
  for (const text of [...texts, `${chunked}3\r\nab`, `${chunked}3\r\nabc`, `${chunked}0\r\n`, chunked])
    assert.is(parse('request', text).at(-1), 'fault 400 truncated', text);
  assert.equal(parse('request', ''), ['closed']);
  assert.equal(parse('request', texts[2]!, { isOpen: true }).slice(1), []);
});

test('nothing of the next request is looked at before its turn', () => {
  const parser = createRequestParser(HTTP_LIMITS_LARGE);
  assert.ok(parser.isIdle);
  parser.feed(latin1Encode(`GET / HTTP/1.1\r\n${HOST}\r\n\x00broken`));
  assert.not(parser.isIdle);
  assert.is(parser.poll()?.type, 'head');
  assert.is(parser.poll()?.type, 'end');
  assert.is(parser.poll(), undefined);
  assert.ok(parser.hasLeftover);
  parser.next();
  assert.not(parser.isIdle);
  assert.throws(() => parser.next(), /bug/);
});

test('any bytes parse or are a fault, and cutting the stream differently changes nothing', () => {
  const random = seeded(20240607);
  const below = (n: number) => Math.floor(random() * n);
  const fragments = [
    'GET / HTTP/1.1\r\n',
    'POST /a HTTP/1.1\r\n',
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 302 Found\r\n',
    HOST,
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: close\r\n',
    '\r\n',
    '5\r\nhello\r\n',
    '0\r\n\r\n',
    'hello',
    '\n',
    '\r',
    ' ',
    ':',
    '\x00',
    'ff;x=y\r\n',
    '\xff\xfe',
  ];
  const limits: HttpLimits = {
    ...HTTP_LIMITS_SMALL,
    startLineBytes: 60,
    headBytes: 160,
    headerCount: 5,
    bodyBytes: 40,
  };
  let complete = 0;
  for (let round = 0; round < 4000; round++) {
    let text = '';
    const start = below(4);
    if (start === 0) text += `GET / HTTP/1.1\r\n${HOST}\r\n`;
    if (start === 1) text += `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`;
    if (start === 2) text += 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n';
    for (let i = below(14); i > 0; i--) text += fragments[below(fragments.length)]!;
    if (round % 3 === 0 && text.length > 0) {
      const at = below(text.length);
      text = text.slice(0, at) + String.fromCharCode(below(256)) + text.slice(at + below(3));
    }
    const role = round % 2 === 0 ? 'request' : 'response';
    const whole = parse(role, text, { limits });
    const label = JSON.stringify(text);
    assert.equal(parse(role, text, { limits, cut: 'bytes' }), whole, label);
    assert.equal(parse(role, text, { limits, cut: () => below(9) }), whole, label);
    const last = whole.at(-1)!;
    assert.ok(last === 'closed' || last.startsWith('fault'), label);
    if (whole.includes('end')) complete++;
  }
  assert.ok(complete > 500, `only ${complete} inputs held a complete message`);
});

test('content may come in any number of chunks: their framing is not counted as fields', () => {
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const chunks = HTTP_LIMITS_SMALL.headBytes / 4;
  const seen = parse('request', `${head}${'1\r\nx\r\n'.repeat(chunks)}0\r\n\r\n`, { limits: HTTP_LIMITS_SMALL });
  assert.equal(seen.slice(1), [`data ${'x'.repeat(chunks)}`, 'end', 'closed']);
});

test.run();
