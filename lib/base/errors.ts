/**
 * Errors of the environment (design: "Errors", third kind). Codes are for programs, texts for people.
 * A caller's mistake is a TypeError or RangeError instead; network input never throws at all (see drop.ts).
 */

/** Stable codes of {@link NetError}. */
export type ErrorCode =
  /** Another socket or listener holds the address or port. */
  | 'ERR_ADDRESS_IN_USE'
  /** The address cannot be used here: not local, wrong family, no permission. */
  | 'ERR_ADDRESS_UNAVAILABLE'
  /** The other side refused the connection (TCP reset while connecting). */
  | 'ERR_CONNECTION_REFUSED'
  /** The other side reset the connection. */
  | 'ERR_CONNECTION_RESET'
  /** No answer in time. */
  | 'ERR_TIMED_OUT'
  /** No peer's allowed IPs cover the address, or an ICMP unreachable arrived. */
  | 'ERR_UNREACHABLE'
  /** The socket, listener or mote was closed by this side. */
  | 'ERR_CLOSED'
  /** The caller aborted the operation. */
  | 'ERR_ABORTED'
  /** The rules of the tailnet do not allow it any more. */
  | 'ERR_NOT_ALLOWED'
  /** A named limit of this mote is reached (connections, sockets, peers). */
  | 'ERR_LIMIT'
  /** A datagram larger than the socket or path can carry. */
  | 'ERR_MESSAGE_SIZE'
  /** A name did not resolve. */
  | 'ERR_NAME_NOT_FOUND'
  /** The store failed to load or save. */
  | 'ERR_STORE'
  /** The other end of a TLS connection could not be verified. */
  | 'ERR_TLS'
  /** The coordinator refused this device: its auth key, its login or its node key. */
  | 'ERR_LOGIN'
  /** The peer broke the application protocol that this library speaks for the caller (HTTP, SOCKS). */
  | 'ERR_PROTOCOL';

/** An error of the environment with a stable {@link ErrorCode}. */
export class NetError extends Error {
  /** A field, not an assignment: where `Error.prototype` is frozen, as in the flash of a board, that would throw. */
  override readonly name: string = 'NetError';
  readonly code: ErrorCode;

  /** `message` is one line for people that says what happened and, where there is one, the next step. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Whether something is a {@link NetError}, also one of another bundle of this library in the same process. */
export function isNetError(error: unknown): error is NetError {
  return error instanceof Error && error.name === 'NetError' && typeof (error as NetError).code === 'string';
}
