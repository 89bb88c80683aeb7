package kcl;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.arns.Arn;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.StreamDescriptionSummary;
import software.amazon.kinesis.checkpoint.CheckpointConfig;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.LeaseCleanupConfig;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.EagerScheduler;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.LifecycleConfig;
import software.amazon.kinesis.metrics.MetricsConfig;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.MultiStreamTracker;
import software.amazon.kinesis.processor.ProcessorConfig;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.processor.StreamTracker;
import software.amazon.kinesis.retrieval.RetrievalConfig;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;
import software.amazon.kinesis.worker.metric.OperatingRange;
import software.amazon.kinesis.worker.metric.impl.linux.LinuxCpuWorkerMetric;

/**
 * One KCL worker, set by environment variables, that tells on standard output what happens to it. Whatever is not set keeps
 * KCL's own default. SIGTERM: KCL's graceful shutdown, exit status 143; a setting that is wrong: 2; a worker that failed: 1.
 */
public final class Main {
    private static final long GRACE_SECONDS = 60;

    private Main() {}

    public static void main(String[] arguments) {
        System.setProperty("aws.cborEnabled", "false"); // so that a recording of the wire can be read
        Scheduler scheduler;
        try {
            scheduler = scheduler(new Settings(System.getenv()));
        } catch (IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(2);
            return;
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(scheduler), "stop"));
        try {
            scheduler.run();
        } catch (RuntimeException error) {
            Lines.say("failed", "error", error.toString());
            error.printStackTrace();
            System.exit(1);
        }
        Lines.say("ended");
    }

    private static void stop(Scheduler scheduler) {
        if (scheduler.shutdownComplete()) {
            return;
        }
        Lines.say("stopping");
        try {
            boolean whole = scheduler.startGracefulShutdown().get(GRACE_SECONDS, TimeUnit.SECONDS);
            Lines.say("stopped", "graceful", whole);
        } catch (Exception error) {
            Lines.say("stopped", "graceful", false, "error", error.toString());
        }
    }

    private static Scheduler scheduler(Settings settings) {
        String application = settings.required("KCL_APPLICATION");
        String worker = settings.required("KCL_WORKER");
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .endpointOverride(URI.create(settings.required("KCL_KINESIS_ENDPOINT")))
                .httpClientBuilder(http1())
                .build();
        DynamoDbAsyncClient dynamodb = DynamoDbAsyncClient.builder()
                .endpointOverride(URI.create(settings.required("KCL_DYNAMODB_ENDPOINT")))
                .httpClientBuilder(http1())
                .build();
        CloudWatchAsyncClient nowhere = CloudWatchAsyncClient.builder()
                .endpointOverride(URI.create("http://127.0.0.1:9"))
                .build();
        StreamTracker tracker = tracker(settings, kinesis);
        ConfigsBuilder configs =
                new ConfigsBuilder(tracker, application, kinesis, dynamodb, nowhere, worker, processors(settings));
        LeaseManagementConfig leases = leases(settings, configs.leaseManagementConfig());
        CoordinatorConfig coordinator = coordinator(settings, configs.coordinatorConfig());
        RetrievalConfig retrieval = retrieval(settings, configs.retrievalConfig(), kinesis, tracker, application);
        MetricsConfig metrics = configs.metricsConfig().metricsFactory(new LeaderWatch());
        boolean eager = Boolean.TRUE.equals(settings.flag("KCL_EAGER"));
        settings.refuseUnknown();
        SchedulerMaker maker = eager ? EagerScheduler::new : Scheduler::new;
        return maker.make(
                configs.checkpointConfig(),
                coordinator,
                leases,
                configs.lifecycleConfig(),
                metrics,
                configs.processorConfig(),
                retrieval);
    }

    /** The one constructor that two schedulers share. */
    @FunctionalInterface
    private interface SchedulerMaker {
        Scheduler make(
                CheckpointConfig checkpoint,
                CoordinatorConfig coordinator,
                LeaseManagementConfig leases,
                LifecycleConfig lifecycle,
                MetricsConfig metrics,
                ProcessorConfig processor,
                RetrievalConfig retrieval);
    }

    /** The test servers speak no HTTP/2 without TLS. */
    private static NettyNioAsyncHttpClient.Builder http1() {
        return NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1);
    }

    /** One name or ARN: single-stream mode. Names with commas between, also one with a comma behind: multi-stream mode. */
    private static StreamTracker tracker(Settings settings, KinesisAsyncClient kinesis) {
        String streams = settings.required("KCL_STREAM");
        InitialPositionInStreamExtended from = settings.position("KCL_INITIAL_POSITION");
        if (!streams.contains(",")) {
            StreamIdentifier identifier = streams.startsWith("arn:")
                    ? StreamIdentifier.singleStreamInstance(Arn.fromString(streams))
                    : StreamIdentifier.singleStreamInstance(streams);
            return new SingleStreamTracker(identifier, from);
        }
        List<StreamConfig> configs = new ArrayList<>();
        for (String name : streams.split(",")) {
            StreamDescriptionSummary summary = kinesis.describeStreamSummary(request -> request.streamName(name))
                    .join()
                    .streamDescriptionSummary();
            Arn arn = Arn.fromString(summary.streamARN());
            long epoch = summary.streamCreationTimestamp().getEpochSecond();
            configs.add(new StreamConfig(StreamIdentifier.multiStreamInstance(arn, epoch), from));
        }
        return new MultiStreamTracker() {
            @Override
            public List<StreamConfig> streamConfigList() {
                return configs;
            }

            @Override
            public FormerStreamsLeasesDeletionStrategy formerStreamsLeasesDeletionStrategy() {
                return new FormerStreamsLeasesDeletionStrategy.NoLeaseDeletionStrategy();
            }
        };
    }

    private static ShardRecordProcessorFactory processors(Settings settings) {
        Long slow = settings.number("KCL_SLOW_MS");
        long slowMillis = slow == null ? 0 : slow;
        boolean checkpoints = !Boolean.FALSE.equals(settings.flag("KCL_CHECKPOINTS"));
        return new ShardRecordProcessorFactory() {
            @Override
            public ShardRecordProcessor shardRecordProcessor() {
                return new Processor(null, slowMillis, checkpoints);
            }

            @Override
            public ShardRecordProcessor shardRecordProcessor(StreamIdentifier stream) {
                boolean several = stream.streamCreationEpochOptional().isPresent();
                return new Processor(several ? stream.serialize() : null, slowMillis, checkpoints);
            }
        };
    }

    private static LeaseManagementConfig leases(Settings settings, LeaseManagementConfig config) {
        Long value;
        if ((value = settings.number("KCL_FAILOVER_MS")) != null) {
            config.failoverTimeMillis(value);
        }
        if ((value = settings.number("KCL_ASSIGNMENT_MS")) != null) {
            config.leaseAssignmentIntervalMillis(value);
        }
        if ((value = settings.number("KCL_LEADER_DURATION_MS")) != null) {
            config.dynamoDbLockBasedLeaderLeaseDurationInMillis(value);
        }
        if ((value = settings.number("KCL_LEADER_HEARTBEAT_MS")) != null) {
            config.dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(value);
        }
        if ((value = settings.number("KCL_FIRST_SYNC_PAUSE_MS")) != null) {
            config.shardSyncIntervalMillis(value);
        }
        if ((value = settings.number("KCL_HOLE_SYNC_MS")) != null) {
            config.leasesRecoveryAuditorExecutionFrequencyMillis(value);
        }
        if ((value = settings.number("KCL_CLEANUP_MS")) != null) {
            cleanUpEvery(value, config);
        }
        if ((value = settings.number("KCL_MAX_LEASES")) != null) {
            config.maxLeasesForWorker(value.intValue());
        }
        LeaseManagementConfig.GracefulLeaseHandoffConfig handoff = config.gracefulLeaseHandoffConfig();
        Boolean on = settings.flag("KCL_HANDOFF");
        if (on != null) {
            handoff.isGracefulLeaseHandoffEnabled(on);
        }
        if ((value = settings.number("KCL_HANDOFF_MS")) != null) {
            handoff.gracefulLeaseHandoffTimeoutMillis(value);
        }
        LeaseManagementConfig.WorkerUtilizationAwareAssignmentConfig utilization =
                config.workerUtilizationAwareAssignmentConfig();
        if ((on = settings.flag("KCL_WORKER_METRICS")) != null) {
            utilization.disableWorkerMetrics(!on);
        }
        if ((value = settings.number("KCL_WORKER_METRICS_MS")) != null) {
            utilization.workerMetricsReporterFreqInMillis(value);
        }
        String stat = settings.text("KCL_CPU_STAT", "/proc/stat");
        if (Boolean.TRUE.equals(settings.flag("KCL_CPU_METRIC"))) {
            utilization.workerMetricList(List.of(cpuMetric(stat)));
        }
        if ((value = settings.number("KCL_BALANCE_EVERY")) != null) {
            utilization.varianceBalancingFrequency(value.intValue());
        }
        Newer.set(config, "leaseAssignmentStrategy", settings.text("KCL_ASSIGNMENT", null));
        Newer.set(config, "streamInfoMode", settings.text("KCL_STREAM_INFO", null));
        Newer.set(config, "streamIdOnboardingState", settings.text("KCL_STREAM_ID", null));
        return config;
    }

    /** From a file like /proc/stat; only its own package may name another one. */
    private static LinuxCpuWorkerMetric cpuMetric(String stat) {
        try {
            Constructor<LinuxCpuWorkerMetric> constructor =
                    LinuxCpuWorkerMetric.class.getDeclaredConstructor(OperatingRange.class, String.class);
            constructor.setAccessible(true);
            return constructor.newInstance(
                    OperatingRange.builder().maxUtilization(80).build(), stat);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /** KCL has no setter for it: a minute, five and thirty. */
    private static void cleanUpEvery(long millis, LeaseManagementConfig config) {
        try {
            Field field = LeaseManagementConfig.class.getDeclaredField("leaseCleanupConfig");
            field.setAccessible(true);
            field.set(
                    config,
                    LeaseCleanupConfig.builder()
                            .leaseCleanupIntervalMillis(millis)
                            .completedLeaseCleanupIntervalMillis(millis)
                            .garbageLeaseCleanupIntervalMillis(millis)
                            .build());
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private static CoordinatorConfig coordinator(Settings settings, CoordinatorConfig config) {
        String version = settings.text("KCL_CLIENT_VERSION", null);
        if (version != null) {
            config.clientVersionConfig(CoordinatorConfig.ClientVersionConfig.valueOf(version));
        }
        Long poll = settings.number("KCL_PARENT_POLL_MS");
        if (poll != null) {
            config.parentShardPollIntervalMillis(poll);
        }
        config.workerStateChangeListener(state -> Lines.say("worker", "state", state.name()));
        Newer.set(config, "migrateAllEntitiesToLeaseTable", settings.flag("KCL_MIGRATE_TABLES"));
        return config;
    }

    private static RetrievalConfig retrieval(
            Settings settings, RetrievalConfig config, KinesisAsyncClient kinesis, StreamTracker tracker, String application) {
        String stream = tracker.isMultiStream()
                ? null
                : tracker.streamConfigList().get(0).streamIdentifier().streamName();
        String how = settings.text("KCL_RETRIEVAL", "polling");
        Long idle = settings.number("KCL_IDLE_MS");
        Long most = settings.number("KCL_MAX_RECORDS");
        if (how.equals("fanout")) {
            FanOutConfig fanOut = new FanOutConfig(kinesis).applicationName(application);
            return config.retrievalSpecificConfig(stream == null ? fanOut : fanOut.streamName(stream));
        }
        if (!how.equals("polling")) {
            throw new IllegalArgumentException("KCL_RETRIEVAL is neither polling nor fanout: " + how);
        }
        PollingConfig polling = stream == null ? new PollingConfig(kinesis) : new PollingConfig(stream, kinesis);
        if (idle != null) {
            polling.idleTimeBetweenReadsInMillis(idle);
        }
        if (most != null) {
            polling.maxRecords(most.intValue());
        }
        return config.retrievalSpecificConfig(polling);
    }
}
