package kcl;

import com.amazonaws.services.dynamodbv2.streamsadapter.AmazonDynamoDBStreamsAdapterClient;
import com.amazonaws.services.dynamodbv2.streamsadapter.StreamsSchedulerFactory;
import com.amazonaws.services.dynamodbv2.streamsadapter.adapter.DynamoDBStreamsClientRecord;
import com.amazonaws.services.dynamodbv2.streamsadapter.model.DynamoDBStreamsProcessRecordsInput;
import com.amazonaws.services.dynamodbv2.streamsadapter.polling.DynamoDBStreamsPollingConfig;
import com.amazonaws.services.dynamodbv2.streamsadapter.processor.DynamoDBStreamsShardRecordProcessor;
import java.net.URI;
import java.util.List;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.streams.DynamoDbStreamsClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.StreamTracker;
import software.amazon.kinesis.retrieval.RetrievalConfig;

/**
 * A worker of the DynamoDB Streams adapter, no more than what shows its lease rows. KCL_STREAM is a stream's ARN, also one with a comma
 * behind it for multi-stream mode; KCL_KINESIS_ENDPOINT is where its shards are read. The other settings are fixed, and quick.
 */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        Region region = Region.of(System.getenv("AWS_REGION"));
        DynamoDbStreamsClient streams = DynamoDbStreamsClient.builder()
                .endpointOverride(URI.create(System.getenv("KCL_KINESIS_ENDPOINT")))
                .build();
        DynamoDbAsyncClient dynamodb = DynamoDbAsyncClient.builder()
                .endpointOverride(URI.create(System.getenv("KCL_DYNAMODB_ENDPOINT")))
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1))
                .build();
        CloudWatchAsyncClient nowhere = CloudWatchAsyncClient.builder()
                .endpointOverride(URI.create("http://127.0.0.1:9"))
                .build();
        AmazonDynamoDBStreamsAdapterClient adapter = new AmazonDynamoDBStreamsAdapterClient(streams, region);
        StreamTracker tracker = tracker(System.getenv("KCL_STREAM"));
        ConfigsBuilder configs = new ConfigsBuilder(
                tracker,
                System.getenv("KCL_APPLICATION"),
                adapter,
                dynamodb,
                nowhere,
                System.getenv("KCL_WORKER"),
                Processor::new);
        LeaseManagementConfig leases = configs.leaseManagementConfig();
        leases.failoverTimeMillis(3000).leaseAssignmentIntervalMillis(2000L).shardSyncIntervalMillis(0);
        leases.workerUtilizationAwareAssignmentConfig().workerMetricsReporterFreqInMillis(2000);
        RetrievalConfig retrieval = configs.retrievalConfig();
        retrieval.retrievalSpecificConfig(new DynamoDBStreamsPollingConfig(adapter).idleTimeBetweenReadsInMillis(500));
        Scheduler scheduler = StreamsSchedulerFactory.createScheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig().parentShardPollIntervalMillis(1000),
                leases,
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
                configs.processorConfig(),
                retrieval,
                adapter);
        scheduler.run();
    }

    private static StreamTracker tracker(String streams) {
        InitialPositionInStreamExtended from =
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        return streams.contains(",")
                ? StreamsSchedulerFactory.createMultiStreamTracker(
                        List.of(streams.split(",")),
                        from,
                        new FormerStreamsLeasesDeletionStrategy.NoLeaseDeletionStrategy())
                : StreamsSchedulerFactory.createSingleStreamTracker(streams, from);
    }

    private static final class Processor implements DynamoDBStreamsShardRecordProcessor {
        private String shard;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            say("initialized", input.extendedSequenceNumber().sequenceNumber());
        }

        @Override
        public void processRecords(DynamoDBStreamsProcessRecordsInput input) {
            for (DynamoDBStreamsClientRecord record : input.records()) {
                say("record", record.getRecord().dynamodb().sequenceNumber());
            }
            if (!input.records().isEmpty()) {
                checkpoint(input.checkpointer());
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            say("leaseLost", "");
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(input.checkpointer());
            say("shardEnded", "");
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (InvalidStateException | ShutdownException error) {
                say("checkpointRefused", "");
            }
        }

        private void say(String event, String sequenceNumber) {
            System.out.printf("{\"event\": \"%s\", \"shard\": \"%s\", \"sequenceNumber\": \"%s\"}%n", event, shard, sequenceNumber);
        }
    }
}
