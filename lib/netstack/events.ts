/** What the stack tells its owner. */
import type { Endpoint } from '../base/address.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { TcpConnection } from './tcp.ts';
import type { UdpSocket } from './udp.ts';

/** `connection.takeReady()` has something to say. The event object is valid until the next poll. */
export interface TcpEvent {
  readonly type: 'tcp';
  readonly connection: TcpConnection;
}

/** Datagrams wait; said once until `receive` returned false. The event object is valid until the next poll. */
export interface UdpEvent {
  readonly type: 'udp';
  readonly socket: UdpSocket;
}

/** A destination (or a router, or the tunnel) answered that what the socket sent does not arrive. */
export interface UdpErrorEvent {
  readonly type: 'udp-error';
  readonly socket: UdpSocket;
  /** `ERR_CONNECTION_REFUSED` for a closed port, else `ERR_UNREACHABLE`. */
  readonly code: ErrorCode;
  /** Where the datagram was sent to. */
  readonly remote: Endpoint;
}

/** An echo request of ours was answered; once per request. */
export interface EchoReplyEvent {
  readonly type: 'echo-reply';
  /** Canonical address text. */
  readonly from: string;
  readonly id: number;
  readonly sequence: number;
  readonly payloadBytes: number;
  readonly rttMs: number;
}

/** An echo request of ours cannot arrive. */
export interface EchoErrorEvent {
  readonly type: 'echo-error';
  /** Canonical text of the address that was asked. */
  readonly to: string;
  readonly id: number;
  readonly sequence: number;
  readonly code: ErrorCode;
}

/** All events of the stack. */
export type StackEvent = TcpEvent | UdpEvent | UdpErrorEvent | EchoReplyEvent | EchoErrorEvent;
