/** The numbers of TCP's drop reasons, looked up once per machine. */
import { dropReason } from '../base/drop.ts';

/** TCP's drop reasons by field. */
export interface TcpDrops {
  readonly malformed: number;
  readonly checksum: number;
  readonly noConnection: number;
  readonly outOfWindow: number;
  readonly badState: number;
  readonly backlogFull: number;
  readonly limit: number;
  readonly badAck: number;
  readonly badReset: number;
  readonly unexpectedSyn: number;
  readonly oldTimestamp: number;
  readonly duplicate: number;
  readonly icmpMismatch: number;
}

/** Looks the numbers up. */
export function tcpDrops(): TcpDrops {
  return {
    malformed: dropReason('tcp-malformed'),
    checksum: dropReason('tcp-checksum'),
    noConnection: dropReason('tcp-no-connection'),
    outOfWindow: dropReason('tcp-out-of-window'),
    badState: dropReason('tcp-bad-state'),
    backlogFull: dropReason('tcp-backlog-full'),
    limit: dropReason('tcp-limit'),
    badAck: dropReason('tcp-bad-ack'),
    badReset: dropReason('tcp-bad-reset'),
    unexpectedSyn: dropReason('tcp-unexpected-syn'),
    oldTimestamp: dropReason('tcp-old-timestamp'),
    duplicate: dropReason('tcp-duplicate'),
    icmpMismatch: dropReason('tcp-icmp-mismatch'),
  };
}
