import com.twitter.finagle.Http;
import com.twitter.finagle.Service;
import com.twitter.finagle.http.Method;
import com.twitter.finagle.http.Request;
import com.twitter.finagle.http.Response;
import com.twitter.util.Await;
import com.twitter.util.Duration;

/**
 * A real finagle client: it resolves a ServerSet and sends one request after the other. Each line it prints is the
 * milliseconds since 1970 and either the body of the answer or ERR and the kind of the failure.
 *
 * Arguments: destination (zk!127.0.0.1:2181!/service/orders), seconds, milliseconds between requests.
 */
public class Probe {
  public static void main(String[] arguments) throws Exception {
    long end = System.currentTimeMillis() + Long.parseLong(arguments[1]) * 1000;
    long pause = Long.parseLong(arguments[2]);
    Service<Request, Response> service = Http.client().withLabel("probe").newService(arguments[0]);
    while (System.currentTimeMillis() < end) {
      Request request = Request.apply(Method.Get(), "/");
      request.host("probe");
      String line;
      try {
        Response response = Await.result(service.apply(request), Duration.fromSeconds(3));
        line = response.statusCode() == 200 ? response.contentString().trim() : "ERR " + response.statusCode();
      } catch (Exception e) {
        line = "ERR " + e.getClass().getSimpleName();
      }
      System.out.println(System.currentTimeMillis() + " " + line);
      Thread.sleep(pause);
    }
    System.exit(0); // finagle's threads would keep the JVM alive
  }
}
