/** From the head of a request to a `Request` (RFC 9112 §3.2, §3.3): which URL it means, and what Fetch cannot say. */
import { type Endpoint, formatEndpoint } from '../base/address.ts';
import type { FetchClasses, FetchRequest, FetchSignal, FetchStream } from './fetch-types.ts';
import type { RequestHead } from './http-head.ts';
import { bad, HttpFault, isHostText } from './http-syntax.ts';

/** Methods that the Fetch API refuses; a proxy's and a debugger's business. */
const METHODS_REFUSED = Object.freeze(['CONNECT', 'TRACE', 'TRACK']);

/** What a request is made of besides its head. */
export interface RequestParts {
  readonly classes: FetchClasses;
  readonly scheme: 'http' | 'https';
  /** Where the connection arrived: the authority of a request that names none. */
  readonly local: Endpoint;
  readonly signal: FetchSignal;
  /** Makes the stream of the content; called only for a request that may have any. */
  body(): FetchStream;
}

/** The `Request` of a head; a fault when there is none. */
export function createRequest(head: RequestHead, parts: RequestParts): FetchRequest | HttpFault {
  if (METHODS_REFUSED.includes(head.method)) return unknownMethod();
  const { classes } = parts;
  const headers = new classes.Headers();
  const { names, values } = head.headers;
  const url = requestUrl(head, parts);
  if (url instanceof HttpFault) return url;
  try {
    for (let i = 0; i < names.length; i++) headers.append(names[i]!, values[i]!);
    const hasBody = head.bodyBytes !== 0 && head.method !== 'GET' && head.method !== 'HEAD';
    const { signal } = parts;
    const body = hasBody ? { body: parts.body(), duplex: 'half' } : {};
    const request = new classes.Request(url, { method: head.method, headers, signal, ...body });
    // The Fetch API changes the case of some methods; a `get` is not a GET (RFC 9110 §9.1).
    if (request.method !== head.method) return unknownMethod(); // CHECK: http-method-case
    return request;
  } catch {
    return bad('request', 'malformed request');
  }
}

/**
 * The URL of a request. It is put together as text: resolving a target of `//other/x` against the host would name
 * another host. The authority of a target in absolute form counts instead of the Host field (RFC 9112 §3.2.2).
 */
function requestUrl(head: RequestHead, parts: RequestParts): string | HttpFault {
  const { target } = head;
  if (target.startsWith('/')) {
    const host = head.headers.get('host');
    const authority = host === undefined || host === '' ? formatEndpoint(parts.local) : host;
    return `${parts.scheme}://${authority}${target}`;
  }
  const authority = /^https?:\/\/([^/?]*)/i.exec(target)?.[1];
  const isClean = authority !== undefined && isHostText(authority);
  if (!isClean) return bad('target', 'malformed request target'); // CHECK: http-target-authority
  return target;
}

function unknownMethod(): HttpFault {
  return new HttpFault(501, 'method-unknown', 'unknown method');
}
