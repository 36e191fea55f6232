/**
 * HTTP/1.1 words: tokens, field lists, numbers, limits, faults (RFC 9110 §5, RFC 9112 §2 to §7).
 * Strict where the RFC lets a recipient choose, because every leniency in framing is somebody's request smuggling.
 */

/** Limits of one HTTP connection. Going over one ends it, with the status in brackets where one can be sent. */
export interface HttpLimits {
  /** Longest request or status line in bytes, its CRLF included [414]. */
  readonly startLineBytes: number;
  /** Most bytes of start line, fields and trailers together, line ends included [431]. */
  readonly headBytes: number;
  /** Most fields, trailers included [431]. */
  readonly headerCount: number;
  /** Longest content in bytes [413]; Infinity for no limit. */
  readonly bodyBytes: number;
  /** Longest chunk-size line in bytes, its CRLF included [400]. */
  readonly chunkLineBytes: number;
  /** Most bytes of chunk extensions in one message [400]: an extension per byte would otherwise be free work. */
  readonly chunkExtensionBytes: number;
  /** Most interim (1xx) responses before a final one. */
  readonly interimResponses: number;
}

/** Limits for servers and desktops. */
export const HTTP_LIMITS_LARGE: HttpLimits = Object.freeze({
  startLineBytes: 16384,
  headBytes: 65536,
  headerCount: 128,
  bodyBytes: Number.POSITIVE_INFINITY,
  chunkLineBytes: 1024,
  chunkExtensionBytes: 16384,
  interimResponses: 16,
});

/** Limits for microcontrollers. */
export const HTTP_LIMITS_SMALL: HttpLimits = Object.freeze({
  startLineBytes: 1024,
  headBytes: 4096,
  headerCount: 32,
  bodyBytes: 65536,
  chunkLineBytes: 64,
  chunkExtensionBytes: 256,
  interimResponses: 4,
});

/** Why a message was refused. Never thrown: the parser returns it, and a server answers with its status. */
export class HttpFault {
  /** The status that a server answers with: 400, 413, 414, 431, 501 or 505. */
  readonly status: number;
  /** A stable name for tests and logs, for instance `te-and-cl`. */
  readonly reason: string;
  /** One line for people, without anything of the message in it. */
  readonly text: string;

  constructor(status: number, reason: string, text: string) {
    this.status = status;
    this.reason = reason;
    this.text = text;
  }
}

/** A fault that is answered with 400. */
export function bad(reason: string, text: string): HttpFault {
  return new HttpFault(400, reason, text);
}

/** Fields in the order of arrival. Names are lower case; a name may occur more than once. */
export class HeaderList {
  readonly names: string[] = [];
  readonly values: string[] = [];

  /** How many fields there are. */
  get count(): number {
    return this.names.length;
  }

  /** Appends a field; `name` is already lower case. */
  add(name: string, value: string): void {
    this.names.push(name);
    this.values.push(value);
  }

  /** Whether a name occurs. */
  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** The first value of a name, or `undefined`. */
  get(name: string): string | undefined {
    const at = this.names.indexOf(name);
    return at < 0 ? undefined : this.values[at];
  }

  /** Every value of a name. */
  all(name: string): string[] {
    return this.values.filter((_, i) => this.names[i] === name);
  }

  /** The members of a comma-separated list over all fields of that name (RFC 9110 §5.6.1), empty ones left out. */
  list(name: string): string[] {
    const members = this.all(name).flatMap(value => value.split(','));
    return members.map(trimBlanks).filter(member => member !== '');
  }

  /** Whether a list field has this member; both are compared in lower case. */
  hasMember(name: string, member: string): boolean {
    return this.list(name).some(one => lowerCase(one) === member);
  }
}

/** Whether a text is a token (RFC 9110 §5.6.2): one or more visible ASCII characters without delimiters. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** Whether a text may be a field value (RFC 9110 §5.5): tab, space, visible ASCII, and bytes above 0x7f. */
export function isFieldValue(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

/** Without blanks and tabs at both ends. Not `trim()`: that takes other characters too, 0xa0 among them. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** ASCII lower case. Not `toLowerCase()` alone on foreign text: it maps characters outside ASCII into it. */
export function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, part => part.toLowerCase());
}

/** Text of bytes `[start, end)`, one character per byte. */
export function latin1Decode(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at += 4096)
    text += String.fromCharCode.apply(null, bytes.subarray(at, Math.min(at + 4096, end)) as unknown as number[]);
  return text;
}

/** Bytes of a text whose characters are all below 0x100. */
export function latin1Encode(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/**
 * Whether a Host field or the authority of a target can stand in a URL: no user information, path, blank or quote can
 * hide in it (RFC 9110 §7.2). Whether it is a valid host is for the URL parser.
 */
export function isHostText(text: string): boolean {
  return /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]*$/.test(text);
}

/** Sizes of a server and a client of HTTP on the small preset. */
export const HTTP_SERVER_SMALL = /* @__PURE__ */ Object.freeze({ limits: HTTP_LIMITS_SMALL, maxConnections: 8 });
export const HTTP_CLIENT_SMALL = /* @__PURE__ */ Object.freeze({
  limits: HTTP_LIMITS_SMALL,
  maxIdlePerHost: 1,
  maxIdle: 2,
});
