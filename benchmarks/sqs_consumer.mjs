// sqs-consumer on @aws-sdk/client-sqs, driven like benchmarks/plain_loop.py: node sqs_consumer.mjs QUEUE_ARN RECEIVES_AT_ONCE
// One Consumer receives, handles and deletes one batch after the other, so that many are started, on one client as its
// documentation advises. Endpoint and credentials come from the environment. Ends at SIGTERM, or after two hours.
import { SQSClient, GetQueueUrlCommand } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const [arn, receives] = process.argv.slice(2);
const [, , , region, , queue] = arn.split(":");
const LIFETIME = 7200 * 1000;

const lambdaEvent = (messages) => ({
  Records: messages.map((message) => ({
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes,
    messageAttributes: {},
    md5OfBody: message.MD5OfBody,
    eventSource: "aws:sqs",
    eventSourceARN: arn,
    awsRegion: region,
  })),
});

let seen = 0;
const handler = async (event) => {
  seen += event.Records.length;
};

const sqs = new SQSClient({ region });
const { QueueUrl: queueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: queue }));
const consumers = Array.from({ length: Number(receives) }, () =>
  Consumer.create({
    sqs,
    queueUrl,
    batchSize: 10,
    waitTimeSeconds: 20,
    messageSystemAttributeNames: ["All"],
    messageAttributeNames: ["All"],
    handleMessageBatch: async (messages) => {
      await handler(lambdaEvent(messages));
      return messages;
    },
  }),
);

const end = (code, reason) => {
  for (const consumer of consumers) consumer.stop({ abort: true });
  console.log(`${reason}; ${seen} messages`);
  process.exit(code);
};
for (const consumer of consumers) {
  for (const event of ["error", "processing_error"]) consumer.on(event, (error) => end(1, `${event}: ${error.stack}`));
  consumer.start();
}
process.on("SIGTERM", () => end(0, "stopped"));
setTimeout(() => end(0, "end of life"), LIFETIME);
