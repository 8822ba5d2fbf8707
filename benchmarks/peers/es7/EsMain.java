package org.elasticsearch.node;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.transport.Netty4Plugin;

/** One real Elasticsearch 7.17 node in one process. Arguments: HOME HTTP_PORT TRANSPORT_PORT [setting=value ...] */
public class EsMain extends Node {
  EsMain(Environment environment) {
    super(environment, List.of(Netty4Plugin.class), true);
  }

  public static void main(String[] args) throws Exception {
    Path home = Path.of(args[0]).toAbsolutePath();
    Files.createDirectories(home.resolve("config"));
    Files.writeString(home.resolve("config/log4j2.properties"), String.join("\n",
        "status=error", "appender.c.type=Console", "appender.c.name=c", "appender.c.layout.type=PatternLayout",
        "appender.c.layout.pattern=%d %p %c{1.} %m%n", "rootLogger.level=info", "rootLogger.appenderRef.c.ref=c", ""));
    Settings.Builder settings = Settings.builder()
        .put("path.home", home).put("path.data", home.resolve("data")).put("path.logs", home.resolve("logs"))
        .put("cluster.name", "dev").put("node.name", "n1").put("network.host", "127.0.0.1")
        .put("http.port", args[1]).put("transport.port", args[2]).put("discovery.type", "single-node")
        .put("cluster.routing.allocation.disk.threshold_enabled", false)
        .put("indices.breaker.total.use_real_memory", false);
    for (int i = 3; i < args.length; i++) {
      settings.put(args[i].substring(0, args[i].indexOf('=')), args[i].substring(args[i].indexOf('=') + 1));
    }
    Environment environment = InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), null, () -> "n1");
    LogConfigurator.registerErrorListener();
    LogConfigurator.setNodeName("n1");
    LogConfigurator.configure(environment);
    Node node = new EsMain(environment);
    node.start();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        node.close();
      } catch (Exception e) {
        e.printStackTrace();
      }
    }));
    Thread.currentThread().join();
  }
}
