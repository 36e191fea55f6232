/** The part of Deno's globals that this folder uses. */

/** Deno's address of a UDP socket. */
interface DenoAddress {
  transport: 'udp';
  hostname: string;
  port: number;
}

/** Deno's UDP socket. */
interface DenoDatagrams {
  readonly addr: DenoAddress;
  /** Resolves to a part of `into` and the sender; rejects once the socket is closed. */
  receive(into: Uint8Array): Promise<[Uint8Array, DenoAddress]>;
  send(bytes: Uint8Array, to: DenoAddress): Promise<number>;
  close(): void;
}

declare namespace Deno {
  /** There only with `--unstable-net`. */
  const listenDatagram: ((options: DenoAddress) => DenoDatagrams) | undefined;
}
