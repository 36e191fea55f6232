/** The numbers of TCP's drop reasons. */
import { dropReason } from '../base/drop.ts';

/** TCP's drop reasons by field. */
export const TCP_DROPS = /* @__PURE__ */ Object.freeze({
  malformed: /* @__PURE__ */ dropReason('tcp-malformed'),
  checksum: /* @__PURE__ */ dropReason('tcp-checksum'),
  noConnection: /* @__PURE__ */ dropReason('tcp-no-connection'),
  outOfWindow: /* @__PURE__ */ dropReason('tcp-out-of-window'),
  badState: /* @__PURE__ */ dropReason('tcp-bad-state'),
  backlogFull: /* @__PURE__ */ dropReason('tcp-backlog-full'),
  limit: /* @__PURE__ */ dropReason('tcp-limit'),
  badAck: /* @__PURE__ */ dropReason('tcp-bad-ack'),
  badReset: /* @__PURE__ */ dropReason('tcp-bad-reset'),
  unexpectedSyn: /* @__PURE__ */ dropReason('tcp-unexpected-syn'),
  oldTimestamp: /* @__PURE__ */ dropReason('tcp-old-timestamp'),
  duplicate: /* @__PURE__ */ dropReason('tcp-duplicate'),
  icmpMismatch: /* @__PURE__ */ dropReason('tcp-icmp-mismatch'),
});
