/**
 * Header fields of requests and responses: which are well-formed (RFC 9113 §8.2, §8.3).
 *
 * A malformed response is an error of its stream, not of the connection. Names and values are texts of one character
 * per octet: what a value's octets mean is the caller's business.
 */
import type { Field } from './hpack-table.ts';

/** Fields that belong to one connection of HTTP/1.1 and have no place here (§8.2.2). */
const CONNECTION_FIELDS: readonly string[] = Object.freeze([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

// Expressions stand in functions: what is kept in flash leaks, or crashes XS 17.9 when memory is collected meanwhile.
const isName = (text: string) => /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(text);
const isMethod = (text: string) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
const isTarget = (text: string) => /^[\x21-\x7e]+$/.test(text);
/** No NUL, CR or LF, no character that is not an octet, no white space around (§8.2.1). In XS 13 [^\0] matches NUL. */
const isValue = (text: string) => /^(?![\t ])[\u0001-\u0009\u000b\u000c\u000e-\u00ff]*(?<![\t ])$/.test(text);

/** A response's head. */
export interface ResponseHead {
  readonly status: number;
  /** All fields but `:status`, in order, names in lower case; a name may occur more than once. */
  readonly headers: readonly Field[];
  /** What `content-length` says; -1 without it. */
  readonly contentLength: number;
}

/** Reads the first block of a response, or an interim one (1xx); a text that says what is wrong with it otherwise. */
export function parseResponseHead(fields: readonly Field[]): ResponseHead | string {
  const first = fields[0];
  if (first === undefined || first[0] !== ':status') return 'a response that does not begin with its status';
  const status = /^[1-9][0-9][0-9]$/.test(first[1]) ? Number(first[1]) : 0;
  if (status === 0 || status === 101) return 'a response with a status that is none';
  const headers = fields.slice(1);
  const problem = trailersProblem(headers);
  if (problem !== undefined) return problem;
  let contentLength = -1;
  for (const [name, value] of headers) {
    if (name !== 'content-length') continue;
    const length = /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
    if (length < 0 || (contentLength >= 0 && contentLength !== length)) return 'a content-length that is none';
    contentLength = length;
  }
  return { status, headers, contentLength };
}

/** What is wrong with fields among which no pseudo field may be; undefined when nothing is. */
export function trailersProblem(fields: readonly Field[]): string | undefined {
  for (const [name, value] of fields) {
    if (!isName(name)) return 'a field with a name that is none'; // CHECK: http2-field-name
    if (!isValue(value)) return 'a field with a value that is none'; // CHECK: http2-field-value
    if (CONNECTION_FIELDS.includes(name)) return `the field ${name}, which belongs to HTTP/1.1`; // CHECK: http2-field-connection
  }
  return undefined;
}

/** What a request says of itself. */
export interface RequestHead {
  readonly method: string;
  /** Path and query, beginning with a slash, or `*`. */
  readonly path: string;
  readonly authority: string;
  /** Default `https`. */
  readonly scheme?: 'http' | 'https';
  /** Names in lower case, values of octets. `authorization` and `cookie` are kept out of every table on the way. */
  readonly headers?: readonly Field[];
}

/** The fields of a request, pseudo fields first. Throws TypeError for what cannot stand in one. */
export function requestFields(request: RequestHead): Field[] {
  const { method, path, authority, scheme = 'https', headers = [] } = request;
  if (!isMethod(method) || method === 'CONNECT') throw new TypeError(`"method" expected a method, got ${method}`);
  if (!isTarget(path) || (path[0] !== '/' && path !== '*'))
    throw new TypeError(`"path" expected a path from the root, got ${path}`);
  if (!isTarget(authority)) throw new TypeError(`"authority" expected a host, got ${authority}`);
  const problem = trailersProblem(headers) ?? (isOddTe(headers) ? 'a te other than trailers' : undefined);
  if (problem !== undefined) throw new TypeError(`"headers" has ${problem}`);
  return [[':method', method], [':scheme', scheme], [':authority', authority], [':path', path], ...headers];
}

function isOddTe(headers: readonly Field[]): boolean {
  return headers.some(([name, value]) => name === 'te' && value !== 'trailers');
}

/** The first value of a name (in lower case); undefined where there is none. */
export function headerOf(headers: readonly Field[], name: string): string | undefined {
  return headers.find(([other]) => other === name)?.[1];
}
