//! A local stand-in for AWS: `ci/moto-server.py`, which is moto with faults on demand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use super::process::Process;

/// The environment variables that point a program to it.
pub type Variables = Vec<(&'static str, String)>;

/// A local stand-in for AWS, on its own port.
pub struct Moto {
    port: u16,
    // It exits with this process, because its standard input closes.
    _process: Process,
}

impl Moto {
    /// The instance that all tests of this process share; each test uses its own names.
    ///
    /// # Panics
    ///
    /// If moto isn't installed.
    pub fn shared() -> &'static Moto {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(Moto::start)
    }

    fn start() -> Moto {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/venv/bin/python");
        let moto = root.join("target/venv/bin/moto_server");
        assert!(
            python.exists() && moto.exists(),
            "These tests need moto in {}. Install it: ci/install-tools",
            root.join("target/venv").display()
        );
        let child = Command::new(&python)
            .arg(root.join("ci/moto-server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Process::new("ci/moto-server.py", child);
        let stdout = process.child().stdout.take().expect("piped");
        let mut line = String::new();
        let _read = BufReader::new(stdout).read_line(&mut line);
        let port = line.trim().parse();
        Moto {
            port: port.unwrap_or_else(|_| panic!("ci/moto-server.py did not start: {line:?}")),
            _process: process,
        }
    }

    /// Its address.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment of a program that uses it as AWS.
    pub fn variables(&self) -> Variables {
        variables(&self.url())
    }

    /// Calls an operation, such as `secretsmanager.CreateSecret`, with a JSON object. Returns the
    /// JSON response.
    pub fn call(&self, target: &str, body: &serde_json::Value) -> serde_json::Value {
        // Some targets have a version after the service: `DynamoDB_20120810`.
        let service = target.split(['.', '_']).next().expect("a service");
        let scope = match service.trim_start_matches("Amazon").to_lowercase() {
            cloudwatch if cloudwatch.starts_with("granite") => "monitoring".to_owned(),
            service => service,
        };
        let headers = format!(
            "X-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/{scope}/aws4_request\r\n"
        );
        let answer = self.post("/", &headers, &body.to_string());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
        let (_, object) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(object).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Creates a table as Terraform does, and returns its name.
    pub fn table(&self) -> String {
        let name = format!("chat-{:016x}", rand::random::<u64>());
        let attribute = |name| json!({ "AttributeName": name, "AttributeType": "S" });
        let key = |name, kind| json!({ "AttributeName": name, "KeyType": kind });
        let table = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("pk"), attribute("sk")],
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        });
        self.call("DynamoDB_20120810.CreateTable", &table);
        name
    }

    /// Injects faults from now on; `ci/moto-server.py` documents their form.
    pub fn fault(&self, fault: &serde_json::Value) {
        self.post_fault(&fault.to_string());
    }

    /// Whether faults for this target are left.
    pub fn has_faults(&self, about: &str) -> bool {
        let about = serde_json::json!(about).to_string();
        self.post_fault("").contains(&about)
    }

    fn post_fault(&self, fault: &str) -> String {
        let answer = self.post("/fault", "", fault);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto listens");
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("moto reads");
        let mut answer = String::new();
        let _read = stream.read_to_string(&mut answer);
        answer
    }
}

/// The environment of a program that uses this address as AWS.
pub fn variables(url: &str) -> Variables {
    [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}
