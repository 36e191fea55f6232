/** What a handler returned, looked at before it is sent, and the phrases of what the server says by itself. */
import type { FetchResponse, FetchStream } from './fetch-types.ts';
import type { RequestHead } from './http-head.ts';

/** Fields of a response that belong to the connection, not to the handler. */
export const HANDLER_FIELDS_DROPPED = Object.freeze([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'trailer',
  'te',
]);

const PHRASES: Readonly<Record<number, string>> = Object.freeze({
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
});

/** The phrase of a status that the server answers with by itself. */
export function phraseOf(status: number): string {
  return PHRASES[status] ?? 'Error';
}

/** Whether a response is sent with a body. */
export function mayHaveContent(head: RequestHead, response: FetchResponse): boolean {
  const { status, body } = response;
  return body !== null && head.method !== 'HEAD' && status !== 204 && status !== 304;
}

/** Throws TypeError or RangeError for what is no usable Response. */
export function checkResponse(value: unknown): FetchResponse {
  const response = value as Partial<FetchResponse> | undefined | null;
  const status = response?.status;
  const isResponse = typeof status === 'number' && typeof response?.headers?.forEach === 'function';
  if (!isResponse) throw new TypeError('the handler expected to return a Response');
  if (status < 200 || status > 599) throw new RangeError(`"status" expected 200 to 599, got ${status}`);
  if (response?.bodyUsed === true || response?.body?.locked === true)
    throw new TypeError('the handler returned a Response whose body is used already');
  return response as FetchResponse;
}

/** Tells a body that nobody will read it. */
export function cancelQuietly(stream: FetchStream, reason: unknown): void {
  if (!stream.locked) stream.cancel(reason).catch(() => undefined);
}
