/**
 * The head of an HTTP/1.1 message: start line, one field at a time, and how long the content is (RFC 9112 §3 to §6).
 *
 * DEVIATES from RFC 9112 where it allows leniency: a bare LF, an obs-fold (also in a response) and a blank anywhere but
 * the single ones of a start line are refused; a response with both Transfer-Encoding and Content-Length too.
 */
import { bad, HeaderList, HttpFault, isFieldValue, isHostText, isToken, lowerCase, trimBlanks } from './http-syntax.ts';

/** {@link MessageHead.bodyBytes}: the content comes in chunks. */
export const BODY_CHUNKED = -1;
/** {@link MessageHead.bodyBytes}: the content ends where the connection ends (responses only). */
export const BODY_UNTIL_CLOSE = -2;

/** What requests and responses have in common. */
export interface MessageHead {
  /** Minor version: 0 for HTTP/1.0, 1 for HTTP/1.1 and anything later that calls itself HTTP/1. */
  readonly minor: number;
  readonly headers: HeaderList;
  /** Length of the content in bytes, or {@link BODY_CHUNKED}, or {@link BODY_UNTIL_CLOSE}. */
  bodyBytes: number;
}

/** The head of a request. */
export interface RequestHead extends MessageHead {
  /** A token, in the case that it came in. */
  readonly method: string;
  /** The request target as it came: visible ASCII, no blank, no `#`. */
  readonly target: string;
}

/** The head of a response. */
export interface ResponseHead extends MessageHead {
  /** 100 to 599. */
  readonly status: number;
  /** The reason phrase; often empty. */
  readonly statusText: string;
}

/** Longest method that is looked at in characters; the registry's longest is 17. */
const METHOD_MAX_LENGTH = 24;

/** Parses `METHOD SP target SP HTTP/1.x` (RFC 9112 §3). */
export function parseRequestLine(line: string): RequestHead | HttpFault {
  const parts = line.split(' ');
  if (parts.length !== 3) return bad('request-line', 'malformed request line'); // CHECK: http-request-line
  const [method, target, version] = parts as [string, string, string];
  if (!isToken(method)) return bad('method', 'malformed method'); // CHECK: http-method
  if (method.length > METHOD_MAX_LENGTH) return new HttpFault(501, 'method-unknown', 'unknown method');
  const minor = parseVersion(version);
  if (minor instanceof HttpFault) return minor;
  if (!isTarget(method, target)) return bad('target', 'malformed request target'); // CHECK: http-target
  return { method, target, minor, headers: new HeaderList(), bodyBytes: 0 };
}

/** Parses `HTTP/1.x SP status SP reason`; the reason and the blank before it may be missing (RFC 9112 §4). */
export function parseStatusLine(line: string): ResponseHead | HttpFault {
  const minor = parseVersion(line.slice(0, 8));
  if (minor instanceof HttpFault) return minor;
  const match = /^ ([1-5][0-9][0-9])(?: (.*))?$/.exec(line.slice(8));
  if (match === null) return bad('status-line', 'malformed status line');
  const statusText = match[2] ?? '';
  if (!isFieldValue(statusText)) return bad('status-line', 'malformed reason phrase'); // CHECK: http-reason
  return { status: Number(match[1]), statusText, minor, headers: new HeaderList(), bodyBytes: 0 };
}

function parseVersion(text: string): number | HttpFault {
  if (!/^HTTP\/[0-9]\.[0-9]$/.test(text)) return bad('version', 'malformed HTTP version');
  if (text[5] !== '1') return new HttpFault(505, 'version-unknown', 'only HTTP/1.0 and HTTP/1.1 are spoken here');
  return text[7] === '0' ? 0 : 1;
}

/** Origin form, absolute form, `*` for OPTIONS, or authority form for CONNECT (RFC 9112 §3.2). */
function isTarget(method: string, target: string): boolean {
  if (!/^[\x21\x22\x24-\x7e]+$/.test(target)) return false;
  if (method === 'CONNECT') return /^[^/?@]+:[0-9]{1,5}$/.test(target);
  if (target === '*') return method === 'OPTIONS';
  return target.startsWith('/') || /^https?:\/\/[^/]/i.test(target);
}

/** Parses one field line into `headers` (RFC 9112 §5); a fault when it is malformed. */
export function parseField(line: string, headers: HeaderList): HttpFault | undefined {
  const colon = line.indexOf(':');
  const name = line.slice(0, Math.max(colon, 0));
  // A blank before the colon, a line without one and an obs-fold all fail here, because a blank is no token character.
  if (!isToken(name)) return bad('field-name', 'malformed field name'); // CHECK: http-field-name
  const value = trimBlanks(line.slice(colon + 1));
  if (!isFieldValue(value)) return bad('field-value', 'malformed field value'); // CHECK: http-field-value
  headers.add(lowerCase(name), value);
  return undefined;
}

/** Decides how a request's content is framed and sets `bodyBytes` (RFC 9112 §6.3). A fault when it is ambiguous. */
export function frameRequest(head: RequestHead): HttpFault | undefined {
  const fault = checkHost(head) ?? frameCommon(head);
  if (fault !== undefined) return fault;
  if (head.bodyBytes === BODY_UNTIL_CLOSE) head.bodyBytes = 0;
  return undefined;
}

/**
 * The same for a response to a request of `method`. A response to HEAD, an interim one, 204 and 304 have no content,
 * whatever their fields say.
 */
export function frameResponse(head: ResponseHead, method: string): HttpFault | undefined {
  const fault = frameCommon(head);
  if (fault !== undefined) return fault;
  if (method === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) head.bodyBytes = 0;
  return undefined;
}

/** Exactly one Host field in HTTP/1.1, and nothing in it that a URL would read otherwise (RFC 9112 §3.2). */
function checkHost(head: RequestHead): HttpFault | undefined {
  const hosts = head.headers.all('host');
  const least = head.minor === 0 ? 0 : 1;
  if (hosts.length < least) return bad('host-missing', 'no Host field');
  if (hosts.length > 1) return bad('host-duplicate', 'more than one Host'); // CHECK: http-duplicate-host
  if (!isHostText(hosts[0] ?? '')) return bad('host', 'malformed Host field'); // CHECK: http-host
  return undefined;
}

function frameCommon(head: MessageHead): HttpFault | undefined {
  const { headers } = head;
  const hasCoding = headers.names.includes('transfer-encoding');
  const hasLength = headers.names.includes('content-length');
  if (hasCoding && hasLength) return bad('te-and-cl', 'two framings'); // CHECK: http-te-and-cl
  if (hasCoding) return frameCoded(head);
  head.bodyBytes = BODY_UNTIL_CLOSE;
  if (!hasLength) return undefined;
  const lengths = headers.all('content-length').flatMap(value => value.split(',').map(trimBlanks));
  const first = lengths[0]!;
  if (!/^[0-9]{1,15}$/.test(first)) return bad('content-length', 'malformed length'); // CHECK: http-content-length
  const isOne = lengths.every(length => length === first);
  if (!isOne) return bad('duplicate-length', 'several Content-Length'); // CHECK: http-duplicate-length
  head.bodyBytes = Number(first);
  return undefined;
}

/** Only `chunked`, once, is understood; other codings are refused instead of being passed on undecoded. */
function frameCoded(head: MessageHead): HttpFault | undefined {
  if (head.minor === 0) return bad('te-http10', 'Transfer-Encoding in HTTP/1.0'); // CHECK: http-te-version
  const codings = head.headers.list('transfer-encoding').map(lowerCase);
  const isLast = codings.indexOf('chunked') === codings.length - 1 && codings.length > 0;
  if (!isLast) return bad('te-not-chunked', 'unusable Transfer-Encoding'); // CHECK: http-te-chunked
  if (codings.length > 1) return new HttpFault(501, 'te-unknown', 'unknown Transfer-Encoding');
  head.bodyBytes = BODY_CHUNKED;
  return undefined;
}

/** Whether the connection may carry another message after this one (RFC 9112 §9.3). */
export function isPersistent(head: MessageHead): boolean {
  if (head.headers.hasMember('connection', 'close')) return false;
  return head.minor >= 1 || head.headers.hasMember('connection', 'keep-alive');
}
