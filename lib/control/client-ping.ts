/**
 * What a device answers when its coordinator asks whether it is well (PingRequest): a HEAD request, or the answer to an
 * HTTP request that came as a text (c2n), of which only `/echo` is known.
 *
 * Everything goes through the encrypted connection to the coordinator itself and nowhere else: a request that is to be
 * answered over plain HTTP, and whatever points at the connection's own endpoints, is not answered.
 */
import { fromBase64, utf8Decode, utf8Encode } from '../base/bytes.ts';
import type { MapPing } from './map-values.ts';

/** Longest path that is asked for. */
const MAX_PATH_UNITS = 1024;
/** Endpoints with a meaning of their own: no answer may be sent there. */
const OWN_PATHS = Object.freeze(['/machine/register', '/machine/map']);

/** A request to the coordinator. */
export interface PingAnswer {
  readonly method: 'HEAD' | 'POST';
  readonly path: string;
  readonly body: Uint8Array;
}

/** The answer to a ping; undefined: none. */
export function answerPing(ping: MapPing): PingAnswer | undefined {
  const path = pathOf(ping.url);
  const isOutside = !ping.isNoise && ping.types !== 'c2n'; // c2n goes inside whatever the request says (tailcfg)
  if (isOutside) return undefined; // CHECK: control-ping-noise
  if (path === undefined || OWN_PATHS.some(own => path.startsWith(own))) return undefined; // CHECK: control-ping-path
  if (ping.types === '') return { method: 'HEAD', path, body: new Uint8Array(0) };
  if (ping.types === 'c2n') {
    const body = answerC2n(ping.payload);
    return body === undefined ? undefined : { method: 'POST', path, body };
  }
  const answer = { Type: ping.types.split(',', 1)[0], IP: ping.ip, Err: 'this kind of ping is not supported' };
  return { method: 'POST', path, body: utf8Encode(JSON.stringify(answer)) };
}

/** Path and query of a web address; the host does not matter, since the coordinator is asked in any case. */
function pathOf(url: string): string | undefined {
  const match = /^https?:\/\/[^/?#]+(\/[^?#]*)?(\?[^#]*)?$/i.exec(url);
  const [file, query] = [match?.[1] ?? '/', match?.[2] ?? ''];
  const isOdd = !/^[\x21-\x7e]*$/.test(url) || /\.\.|\/\/|%/.test(file); // one that could be read in two ways
  return match === null || isOdd || file.length + query.length > MAX_PATH_UNITS ? undefined : file + query;
}

/** The answer (HTTP/1.1) to a request in base64. */
function answerC2n(payload: string): Uint8Array | undefined {
  const request = fromBase64(payload);
  if (request === undefined) return undefined;
  const text = utf8Decode(request);
  const line = /^([A-Z]{1,16}) (\/[\x21-\x7e]*) HTTP\/1\.[01]\r\n/.exec(text);
  const headEnd = text.indexOf('\r\n\r\n');
  if (line === null || headEnd < 0) return undefined;
  const isEcho = line[2] === '/echo';
  const body = isEcho ? text.slice(headEnd + 4) : 'unknown c2n path\n';
  const head = `HTTP/1.1 ${isEcho ? '200 OK' : '400 Bad Request'}\r\nContent-Type: text/plain\r\n`;
  return utf8Encode(`${head}Content-Length: ${utf8Encode(body).length}\r\nConnection: close\r\n\r\n${body}`);
}
