// What messaging-api-messenger expects of Meta, asked of the stand-in: node client.mjs GRAPH SIMULATOR PACKAGES
//
// The expectations are the package's own: what its types and its documentation say that each call returns.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [graph, simulator, packages] = process.argv.slice(2);
const require = createRequire(resolve(packages, 'package.json'));
const { MessengerBatch, MessengerClient } = require('messaging-api-messenger');

const PAGE = '100000000000001';
const PSID = '7100000000000001';
const QUIET = '7100000000000002';
const APP = '300000000000003';
const INBOX = 263902037430900;
const PICTURE = 'https://example.com/picture.png';

let requests = 0;
const options = {
  accessToken: `sample-token-of-${PAGE}`,
  appId: APP,
  appSecret: 'sample-app-secret',
  version: '25.0',
  origin: graph,
  onRequest: () => { requests += 1; },
};
const client = new MessengerClient(options);

async function world(method, path, body) {
  const answer = await fetch(`${simulator}/_simulator/${path}`, { method, body });
  assert.equal(answer.ok, true, `${method} ${path}: ${await answer.clone().text()}`);
  return answer.json();
}

async function refused(code, subcode, call) {
  const error = await call().then(() => null, (error) => error);
  assert.ok(error, `${code} was expected, and the call succeeded`);
  const answered = error.response?.data?.error ?? {};
  assert.deepEqual([answered.code, answered.errorSubcode], [code, subcode], error.message);
  // The package builds its message from these three.
  assert.equal(error.message, `Messenger API - ${answered.code} ${answered.type} ${answered.message}`);
  assert.equal(typeof answered.fbtraceId, 'string');
}

// What `SendMessageSuccessResponse` has.
async function sent(call) {
  const answer = await call;
  assert.equal(answer.recipientId, PSID);
  assert.equal(typeof answer.messageId, 'string');
  return answer;
}

const button = { type: 'postback', title: 'Start', payload: 'START' };
const link = { type: 'web_url', title: 'Read', url: 'https://example.com/read' };

const checks = {
  async 'the Page and its token'() {
    assert.deepEqual(await client.getPageInfo(), { name: `Page ${PAGE}`, id: PAGE });
    assert.deepEqual(await client.getPageInfo({ fields: ['id'] }), { id: PAGE });
    // The package asks with the app's token and proves its own, so it can inspect the app's only.
    const app = new MessengerClient({ ...options, accessToken: `${APP}|${options.appSecret}` });
    const token = await app.debugToken();
    assert.deepEqual([token.isValid, token.appId, token.type], [true, APP, 'APP']);
    const plain = new MessengerClient({ ...options, skipAppSecretProof: true });
    await refused(100, undefined, () => plain.sendText(PSID, 'no proof'));
    const stranger = new MessengerClient({ ...options, accessToken: 'unknown' });
    await refused(190, undefined, () => stranger.sendText(PSID, 'no token'));
  },

  async 'text, its labels and its window'() {
    await sent(client.sendText(PSID, 'Hello!', { messagingType: 'RESPONSE' }));
    await sent(client.sendText(PSID, 'Hello!'));
    await sent(client.sendText(PSID, 'A person writes', { tag: 'HUMAN_AGENT' }));
    await sent(client.sendMessage({ id: PSID }, { text: 'Hello!' }));
    await sent(client.sendRawBody({ messagingType: 'RESPONSE', recipient: { id: PSID }, message: { text: 'raw' } }));
    await refused(100, 1893061, () => client.sendText(PSID, 'late', { tag: 'ACCOUNT_UPDATE' }));
    await refused(100, undefined, () => client.sendText(PSID, ''));
    await refused(100, 2018001, () => client.sendText('7999999999999999', 'nobody'));
    await refused(10, 2018278, () => client.sendText(QUIET, 'outside of the window'));
  },

  async 'quick replies'() {
    await sent(client.sendText(PSID, 'Which day?', {
      quickReplies: [
        { contentType: 'text', title: 'Friday', payload: 'FRIDAY' },
        { contentType: 'user_phone_number' },
        { contentType: 'user_email' },
      ],
    }));
    const many = Array.from({ length: 14 }, () => ({ contentType: 'text', title: 'Day', payload: 'DAY' }));
    await refused(100, undefined, () => client.sendText(PSID, 'Which day?', { quickReplies: many }));
  },

  async 'templates'() {
    await sent(client.sendButtonTemplate(PSID, 'What next?', [button, link]));
    await sent(client.sendGenericTemplate(PSID, [{
      title: 'A table', subtitle: 'By the window', imageUrl: PICTURE, buttons: [button],
      defaultAction: { type: 'web_url', url: 'https://example.com', webviewHeightRatio: 'tall' },
    }], { imageAspectRatio: 'square' }));
    await sent(client.sendReceiptTemplate(PSID, {
      recipientName: 'A guest', orderNumber: '12', currency: 'EUR', paymentMethod: 'Card',
      timestamp: '1428444852', summary: { subtotal: 10, shippingCost: 1, totalTax: 2, totalCost: 13 },
      elements: [{ title: 'Soup', price: 10, quantity: 1 }],
    }));
    const { attachmentId } = await client.uploadImage(PICTURE, { isReusable: true });
    await sent(client.sendMediaTemplate(PSID, [{ mediaType: 'image', attachmentId, buttons: [link] }]));
    await sent(client.sendOneTimeNotifReqTemplate(PSID, { title: 'When it is back?', payload: 'BACK' }));
    await refused(100, undefined, () => client.sendButtonTemplate(PSID, 'none', []));
  },

  async 'media, by address, by id and as a file'() {
    const image = await client.uploadImage(PICTURE, { isReusable: true });
    assert.match(image.attachmentId, /^\d+$/);
    const again = await sent(client.sendImage(PSID, { attachmentId: image.attachmentId }));
    assert.equal(again.attachmentId, undefined);
    await sent(client.sendImage(PSID, PICTURE));
    await sent(client.sendAudio(PSID, 'https://example.com/a.mp3'));
    await sent(client.sendVideo(PSID, 'https://example.com/a.mp4'));
    await sent(client.sendFile(PSID, 'https://example.com/a.pdf'));
    const reusable = await sent(client.sendImage(PSID, { url: PICTURE, isReusable: true }));
    assert.match(reusable.attachmentId, /^\d+$/);
    await sent(client.sendImage(PSID, Buffer.from('PNG'), { filename: 'a.png' }));
    const file = await client.uploadFile(Buffer.from('PDF'), { filename: 'a.pdf', isReusable: true });
    await sent(client.sendFile(PSID, { attachmentId: file.attachmentId }));
    await refused(100, 2018074, () => client.sendImage(PSID, { attachmentId: '1' }));
    await refused(100, 2018008, () => client.sendImage(PSID, 'https://nowhere.invalid/a.png'));
  },

  async 'typing and seen'() {
    for (const act of [client.typingOn(PSID), client.typingOff(PSID), client.markSeen(PSID)]) {
      assert.deepEqual(await act, { recipientId: PSID });
    }
    await refused(100, undefined, () => client.sendSenderAction(PSID, 'dance'));
  },

  async 'the profile of the Page'() {
    const success = { result: 'success' };
    assert.equal(await client.getGetStarted(), null);
    assert.deepEqual(await client.setMessengerProfile({
      getStarted: { payload: 'GET_STARTED' },
      greeting: [{ locale: 'default', text: 'Hello!' }],
      iceBreakers: [{ question: 'When are you open?', payload: 'OPEN' }],
      persistentMenu: [{ locale: 'default', composerInputDisabled: false, callToActions: [button] }],
      whitelistedDomains: ['https://example.com'],
      accountLinkingUrl: 'https://example.com/link',
    }), success);
    assert.deepEqual(await client.getGetStarted(), { payload: 'GET_STARTED' });
    assert.deepEqual(await client.getGreeting(), [{ locale: 'default', text: 'Hello!' }]);
    assert.deepEqual(await client.getIceBreakers(), [{ question: 'When are you open?', payload: 'OPEN' }]);
    assert.deepEqual((await client.getPersistentMenu())[0].callToActions, [button]);
    assert.deepEqual(await client.getWhitelistedDomains(), ['https://example.com']);
    assert.equal(await client.getAccountLinkingURL(), 'https://example.com/link');
    const all = ['persistent_menu', 'get_started', 'greeting', 'ice_breakers', 'whitelisted_domains', 'account_linking_url'];
    assert.deepEqual(await client.deleteMessengerProfile(all), success);
    // Meta takes ten of these calls in ten minutes.
    assert.equal(await client.getGetStarted(), null);
    await refused(613, undefined, () => client.getGetStarted());
  },

  async 'the profiles of people'() {
    assert.deepEqual(await client.getUserProfile(PSID), {
      id: PSID, name: 'Guest 0001', firstName: 'Guest', lastName: '0001',
      profilePic: 'https://example.com/person.png',
    });
    const fields = ['id', 'locale', 'timezone'];
    assert.deepEqual(await client.getUserProfile(PSID, { fields }), { id: PSID, locale: 'en_GB', timezone: 1 });
    await world('PUT', `people/${PSID}/profile`, '{"refused": "unavailable"}');
    await refused(100, 2018218, () => client.getUserProfile(PSID));
    await world('DELETE', `people/${PSID}/profile`);
    await refused(100, 33, () => client.getUserProfile('7999999999999999'));
  },

  async 'personas'() {
    const persona = { name: 'Front desk', profilePictureUrl: PICTURE };
    const { id } = await client.createPersona(persona);
    assert.deepEqual(await client.getPersona(id), { id, ...persona });
    for (let n = 0; n < 30; n += 1) await client.createPersona({ ...persona, name: `Desk ${n}` });
    const first = await client.getPersonas();
    assert.equal(typeof first.paging.cursors.after, 'string');
    const all = await client.getAllPersonas();
    assert.equal(all.length, new Set(all.map((one) => one.id)).size);
    assert.ok(all.length >= 31 && first.data.length < all.length);
    await sent(client.sendText(PSID, 'The desk writes', { personaId: id }));
    assert.deepEqual(await client.deletePersona(id), { success: true });
    await refused(100, undefined, () => client.sendText(PSID, 'The desk writes', { personaId: id }));
  },

  async 'thread control'() {
    const success = { success: true };
    assert.deepEqual(await client.takeThreadControl(PSID, 'mine'), success);
    const owner = await client.getThreadOwner(PSID);
    assert.equal(owner.appId, APP);
    assert.deepEqual(await client.passThreadControlToPageInbox(PSID, 'please'), success);
    assert.equal((await client.getThreadOwner(PSID)).appId, String(INBOX));
    await refused(10, 2018300, () => client.sendText(PSID, 'without control'));
    assert.deepEqual(await client.requestThreadControl(PSID, 'back?'), success);
    await refused(100, 2534037, () => client.passThreadControl(PSID, 1, 'not mine'));
    await world('PUT', `people/${PSID}/thread`, '{"holder": "app"}');
    await sent(client.sendText(PSID, 'with control'));
    await world('PUT', `people/${PSID}/thread`, '{"holder": "business_ai", "text": "I am the AI."}');
    await refused(10, 2018300, () => client.sendText(PSID, 'without control'));
    await world('PUT', `people/${PSID}/thread`, '{"holder": "nobody"}');
  },

  async 'subscriptions'() {
    const subscription = { callbackUrl: `${simulator}/webhook`, verifyToken: 'sample-verify-token' };
    assert.deepEqual(await client.createSubscription(subscription), { success: true });
    const page = await client.getPageSubscription();
    assert.deepEqual([page.callbackUrl, page.active], [subscription.callbackUrl, true]);
    // The package's default fields, which Meta lists by name and version.
    assert.deepEqual(page.fields.map((field) => field.name).sort(), [
      'messages', 'messaging_handovers', 'messaging_optins', 'messaging_policy_enforcement',
      'messaging_postbacks', 'messaging_referrals',
    ]);
    await refused(2200, undefined, () => client.createSubscription({ ...subscription, verifyToken: 'wrong' }));
  },

  async 'ids at other Pages'() {
    const ids = await client.getIdsForPages({ userId: '8000000000000001', appSecret: options.appSecret });
    assert.deepEqual(ids.data.map((one) => one.page.id), [PAGE]);
  },

  async 'batches'() {
    const answers = await client.sendBatch([
      MessengerBatch.sendText(PSID, '1 & 2 = 3'),
      MessengerBatch.typingOn(PSID),
      MessengerBatch.getUserProfile(PSID, { fields: ['first_name'] }),
      MessengerBatch.sendText('7999999999999999', 'nobody'),
      MessengerBatch.takeThreadControl(PSID, 'mine'),
      MessengerBatch.getThreadOwner(PSID),
      MessengerBatch.sendButtonTemplate(PSID, 'What next?', [button]),
    ]);
    assert.deepEqual(answers.map((one) => one.code), [200, 200, 200, 400, 200, 200, 200]);
    assert.ok(answers.every((one) => one.headers.some((header) => header.name === 'Content-Type')));
    assert.equal(answers[0].body.recipientId, PSID);
    assert.deepEqual(answers[1].body, { recipientId: PSID });
    assert.deepEqual(answers[2].body, { id: PSID, firstName: 'Guest' });
    assert.equal(answers[3].body.error.errorSubcode, 2018001);
    assert.equal(answers[5].body.appId, APP);
    const [named, next] = await client.sendBatch([
      MessengerBatch.sendText(PSID, 'first', { name: 'first' }),
      MessengerBatch.sendText(PSID, 'second', { dependsOn: 'first' }),
    ].map((one) => ({ ...one })), { includeHeaders: false }).catch((error) => {
      // The package cannot read null, which Meta answers for what others depend on.
      assert.match(error.message, /null|undefined/);
      return [null, { code: 200 }];
    });
    assert.deepEqual([named, next.code], [null, 200]);
    const texts = (await world('GET', 'requests')).map((one) => one.message?.text);
    assert.ok(texts.includes('1 & 2 = 3') && texts.includes('second'));
  },

  async 'faults'() {
    const fault = (body) => world('POST', 'faults', JSON.stringify(body));
    const { errors } = await world('GET', 'faults');
    assert.ok(errors.length > 50);
    for (const { code, subcode } of errors) {
      await fault({ kind: 'error', code, subcode });
      await refused(code, subcode ?? undefined, () => client.sendText(PSID, 'refused'));
    }
    await fault({ kind: 'lost_answer' });
    await assert.rejects(client.sendText(PSID, 'delivered'), (error) => error.response === undefined);
    await fault({ kind: 'html', http: 502 });
    await assert.rejects(client.sendText(PSID, 'edge'), (error) => error.response.status === 502);
    await fault({ kind: 'slow', millis: 50 });
    await sent(client.sendText(PSID, 'slow'));
    await world('DELETE', 'faults');
  },

  async 'private replies'() {
    const { comment_id: commentId } = await world('POST', `people/7100000000000003/comments`, 'How much is it?');
    const answer = await client.sendText({ commentId }, 'We write to you.');
    assert.equal(answer.recipientId, '7100000000000003');
    await refused(10900, undefined, () => client.sendText({ commentId }, 'Again.'));
  },
};

await world('POST', `people/${PSID}`, 'Hello');
await world('POST', `people/${QUIET}`, JSON.stringify({ delivery: { watermark: 1 } }));
let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
  }
}
console.log(`messaging-api-messenger: ${requests} requests, ${failed} of ${Object.keys(checks).length} checks failed`);
process.exit(failed ? 1 : 0);
