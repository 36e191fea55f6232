/**
 * One attempt to register a device (POST /machine/register): which node key with which credentials is asked for next,
 * and what an answer means. It lives over lost connections, and says nothing about when to ask.
 *
 * `join`: the key in force (or the next one, if a crash has left one). `rotate`: a new key before the old one expires,
 * without a person. `renew`: a new key after that. Credentials are tried in turn, and a person is asked last.
 * Left out: signatures of tailnet lock.
 */
import type { SecretKey } from '../crypto/keys.ts';
import type { AnswerReader } from './client-answer.ts';
import { isWebUrl } from './client-answer.ts';
import type { NodeKeys } from './client-keys.ts';
import type { WireRegisterRequest } from './message.ts';

/** Why a device registers. */
export type LoginPurpose = 'join' | 'rotate' | 'renew';

/** What follows from an answer. */
export type LoginStep =
  /** Accepted; `isNewKey`: the next key is the one in force now. */
  | { readonly type: 'done'; readonly isNewKey: boolean }
  /** Ask again at once: with other credentials, or with a new key as soon as there is one. */
  | { readonly type: 'again' }
  /** A person is to open `url`; ask again, the answer then takes its time. `isFirst`: there was no other page before. */
  | { readonly type: 'auth-url'; readonly url: string; readonly isFirst: boolean }
  /** The person has not decided; ask again after a while. */
  | { readonly type: 'pending' }
  /** It needs a person, who is not asked for this purpose. */
  | { readonly type: 'person' }
  /** Refused; the text is the coordinator's own. */
  | { readonly type: 'refused'; readonly text: string };

const EXPIRED_AGAIN = 'the coordinator calls a new node key expired';
const BAD_URL = 'the coordinator sends to a login page that is not a web address';

/** See the top of the file. */
export class Login {
  readonly purpose: LoginPurpose;
  /** The page that the person was sent to; empty before. */
  followup = '';
  readonly #keys: NodeKeys;
  readonly #hasAuthKey: boolean;
  /** Whether to show the auth key, for each try that is left. */
  #tries: boolean[];
  #isNext: boolean;
  /** The next key comes from before a restart: it may or may not be known to the coordinator. */
  #isLeftOver: boolean;
  #old: SecretKey | undefined = undefined;
  #hasExpired = false;

  constructor(keys: NodeKeys, purpose: LoginPurpose, hasAuthKey: boolean) {
    this.purpose = purpose;
    this.#keys = keys;
    this.#hasAuthKey = hasAuthKey;
    this.#tries = this.#allTries();
    this.#isNext = purpose !== 'join' || keys.next !== undefined;
    this.#isLeftOver = purpose === 'join' && this.#isNext;
  }

  /** Whether nothing can be asked before there is a new key that is stored. */
  get needsKey(): boolean {
    return this.#isNext && this.#keys.next === undefined;
  }

  /** What to ask; `authKey` and the rest as the device has it. Not while {@link needsKey}. */
  request(common: WireRegisterRequest, authKey: string | undefined): WireRegisterRequest {
    const { current, next } = this.#keys;
    const isShown = this.#tries[0] === true && authKey !== undefined;
    return {
      ...common,
      NodeKey: this.#keys.textOf(this.#isNext ? next : current),
      OldNodeKey: this.#keys.textOf(this.#isNext ? (this.#old ?? current) : undefined),
      ...(isShown ? { Auth: { AuthKey: authKey } } : {}),
      ...(this.followup === '' ? {} : { Followup: this.followup }),
    };
  }

  /** What an answer with status 200 means; undefined when it is not one. The order is the protocol's. */
  handleAnswer(answer: AnswerReader): LoginStep | undefined {
    const { Error: error = '', NodeKeyExpired: isExpired = false, AuthURL: url = '' } = answer.value ?? { Error: null };
    const [text, page] = [error ?? '', url ?? ''];
    if (answer.value === undefined || typeof text !== 'string' || typeof page !== 'string') return undefined;
    if (text !== '') return this.#tryElse() ? { type: 'again' } : { type: 'refused', text };
    if (isExpired === true) return this.#replaceKey();
    if (page !== '') return this.#ask(page);
    if (this.#isNext) this.#keys.promote();
    return { type: 'done', isNewKey: this.#isNext };
  }

  #allTries(): boolean[] {
    if (!this.#hasAuthKey) return [false];
    if (this.purpose === 'join') return [true];
    return this.purpose === 'rotate' ? [false, true] : [true, false];
  }

  /** Whether there is something else to try: other credentials, then the key in force instead of a left over one. */
  #tryElse(): boolean {
    this.followup = '';
    if (this.#tries.length > 1) {
      this.#tries.shift();
      return true;
    }
    if (!this.#isLeftOver) return false;
    this.#isLeftOver = false;
    this.#isNext = false;
    this.#tries = this.#allTries();
    return true;
  }

  /** The coordinator calls the key that was asked for expired: once per attempt, a new one replaces it. */
  #replaceKey(): LoginStep {
    const { current, next } = this.#keys;
    const hadBefore = this.#hasExpired;
    this.#hasExpired = true;
    this.#old = this.#isNext ? next : current;
    if (this.#isNext) this.#keys.next = undefined;
    if (hadBefore) return { type: 'refused', text: EXPIRED_AGAIN }; // CHECK: control-expired-loop
    this.#isNext = true;
    this.#isLeftOver = false;
    this.#tries = this.#hasAuthKey ? [true, false] : [false];
    this.followup = '';
    return { type: 'again' };
  }

  #ask(url: string): LoginStep {
    if (!isWebUrl(url)) return { type: 'refused', text: BAD_URL }; // CHECK: control-auth-url
    const isPending = url === this.followup;
    if (isPending) return { type: 'pending' };
    const isForPerson = this.purpose === 'renew' || (this.purpose === 'join' && !this.#isLeftOver);
    if (!isForPerson && this.#tryElse()) return { type: 'again' };
    if (!isForPerson) return { type: 'person' };
    const isFirst = this.followup === '';
    this.followup = url;
    return { type: 'auth-url', url, isFirst };
  }
}
