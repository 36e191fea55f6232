/**
 * One map session: what its device has been told, what it is still to be told, and the message that is on its way.
 * Nothing is encoded before the target takes bytes, so a session that waits holds a few bits per peer.
 */
import type { DeadlineOwner } from '../derp/deadline-heap.ts';
import { DirtySet, SlotSet } from './map-dirty.ts';
import type { MapEntry } from './map-directory.ts';
import { MapFrame } from './zstd-frame.ts';

/** How a session was asked for. */
export interface MapSessionOptions {
  readonly isZstd: boolean;
  /** False: one whole map, then the end. */
  readonly isStream: boolean;
  readonly omitPeers: boolean;
  readonly keepAlive: boolean;
}

/** What comes behind the parts of a whole map that are ready. */
export type MapStage = 'users' | 'peers' | 'padding';

/** A session. As the owner of a deadline: whichever of its three times is next. */
export class MapSession implements DeadlineOwner {
  dueMs = Infinity;
  heapIndex = -1;
  readonly id: number;
  readonly entry: MapEntry;
  readonly options: MapSessionOptions;

  /** Slots of peers and of users that it knows. */
  readonly known = new SlotSet();
  readonly knownUsers = new SlotSet();
  /** Peers of which something is to be said. */
  readonly dirty = new DirtySet();
  /** Ids of peers that it knows and must forget. */
  readonly removed = new Set<number>();
  /** Slots of users to be told of. */
  readonly owedUsers = new Set<number>();
  /** A whole map is due; it includes everything below. */
  isWholeDue = true;
  isSelfDue = false;
  /** Filter and names. */
  isViewDue = false;
  isDerpDue = false;
  isKeepAliveDue = false;

  /** Whether the target has been told that there are bytes, and has not yet come to their end. */
  isAnnounced = false;
  /** It was no stream, and has said its one message. */
  isComplete = false;
  /** When its messages count as not taken. */
  slowMs = Infinity;
  keepAliveMs = Infinity;
  /** No change leaves before this. */
  quietMs = 0;

  /** The message on its way: parts that are ready, then what its stage says. */
  readonly frame = new MapFrame();
  parts: Uint8Array[] = [];
  partIndex = 0;
  /** The part that is being written, from `partAt`. */
  part: Uint8Array | undefined = undefined;
  partAt = 0;
  stage: MapStage = 'padding';
  /** Bytes that the message needs behind the users, and whether it lists peers. */
  restBytes = 0;
  hasPeers = false;
  /** Whether the list that is being written has an element yet. */
  hasItem = false;
  userIndex = 0;
  /** Index of the next peer, the order that it belongs to, and the peer before it. */
  peerIndex = 0;
  orderVersion = 0;
  lastPeer = 0;

  constructor(id: number, entry: MapEntry, options: MapSessionOptions) {
    this.id = id;
    this.entry = entry;
    this.options = options;
  }

  /** Whether a message is partly written. */
  get isMidMessage(): boolean {
    return !this.frame.isDone;
  }

  /** Whether something about one peer is all that it is to be told. */
  get hasOnePeer(): boolean {
    const hasOther = this.isWholeDue || this.isSelfDue || this.isViewDue || this.isDerpDue;
    return this.dirty.count === 1 && !hasOther && this.removed.size === 0 && this.owedUsers.size === 0;
  }

  /** Whether anything has changed for it that it has not been told. */
  get hasChanges(): boolean {
    return (
      this.isWholeDue ||
      this.isSelfDue ||
      this.isViewDue ||
      this.isDerpDue ||
      this.dirty.count > 0 ||
      this.removed.size > 0 ||
      this.owedUsers.size > 0
    );
  }
}
