//! `flavor sandbox exec`

use super::open;
use crate::args::{ExecArgs, environment};
use crate::exit::{Exit, Failure};
use crate::raw::{self, Raw};
use crate::signals::Interrupts;
use flavor_host::contract::{Arguments, Command, Terminal};
use flavor_host::session::{Bytestream, Process, TransferError, WaitError};
use std::io::{self, IsTerminal as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

pub(crate) async fn exec(args: ExecArgs) -> Result<Exit, Failure> {
    // The command's own codes must not be taken for those of this program.
    let not_run = |failure: Failure| match failure.exit {
        Exit::Stopped => failure,
        _ => failure.with_exit(Exit::NotRun),
    };
    run(args).await.map_err(not_run)
}

async fn run(args: ExecArgs) -> Result<Exit, Failure> {
    if args.tty && !io::stdin().is_terminal() {
        return Err(Failure::bad_input(
            "--tty: standard input is no terminal: leave --tty out",
        ));
    }
    let mut interrupts = Interrupts::listen()?;
    let started = async {
        let session = open(&args.known, &args.sandbox).await?;
        let process = session.exec(command(&args)).await?;
        Ok::<_, Failure>((session, process))
    };
    let (session, process) = tokio::select! {
        biased;
        () = interrupts.next() => return Err(detached(&args.sandbox)),
        started = started => started?,
    };
    let raw = match args.tty {
        true => Some(Raw::enter().map_err(no_terminal)?),
        false => None,
    };
    let ended = tokio::select! {
        biased;
        () = interrupts.next() => Err(detached(session.id())),
        ended = follow(&process) => ended,
    };
    // Before anything is said on it.
    drop(raw);
    ended
}

fn command(args: &ExecArgs) -> Command {
    let terminal = args.tty.then(|| {
        let (rows, columns) = raw::size();
        let name = std::env::var("TERM").ok().filter(|name| !name.is_empty());
        Terminal {
            rows,
            columns,
            name: name.unwrap_or_else(|| "xterm".to_owned()),
        }
    });
    Command {
        arguments: Arguments::Words(args.command.clone()),
        working_directory: args.cwd.clone(),
        environment: environment(&args.env),
        timeout: args.timeout,
        terminal,
    }
}

/// Hands everything on until the command has ended and has no more to say.
async fn follow(process: &Process) -> Result<Exit, Failure> {
    let (stdout, stderr) = tokio::try_join!(process.stdout(), process.stderr())?;
    let ended = async {
        tokio::try_join!(
            hand_on(stdout, tokio::io::stdout()),
            hand_on(stderr, tokio::io::stderr()),
            async { process.wait(None).await.map_err(unknown) },
        )
    };
    tokio::pin!(ended);
    let input = process.input(tokio::io::stdin());
    tokio::pin!(input);
    let mut is_fed = false;
    let code = loop {
        tokio::select! {
            ended = &mut ended => break ended?.2,
            fed = &mut input, if !is_fed => {
                // A command that ends before it has read everything is no failure.
                if let Err(TransferError::Local(error)) = fed {
                    return Err(Failure::bad_input(format!("standard input: {error}")));
                }
                is_fed = true;
            }
        }
    };
    match u8::try_from(code) {
        Ok(code) => Ok(Exit::Command(code)),
        Err(_) => Err(Failure::new(
            Exit::NotRun,
            format!("the command was ended without an exit code ({code}), such as by its timeout"),
        )),
    }
}

/// Byte for byte. What a reader that went away does not want is dropped; what cannot
/// be written otherwise is a failure, said once the command has ended.
async fn hand_on(mut output: Bytestream, mut to: impl AsyncWrite + Unpin) -> Result<(), Failure> {
    let mut written = Ok(());
    while let Some(piece) = output.next().await {
        let piece = piece?;
        if written.is_ok() {
            written = write(&mut to, &piece).await;
        }
    }
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::NotRun,
            format!("the output of the command cannot be written: {error}; a part of it is lost"),
        )),
        _ => Ok(()),
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    to.write_all(piece).await?;
    to.flush().await
}

fn detached(sandbox: &str) -> Failure {
    Failure::new(
        Exit::Stopped,
        format!(
            "detached; the command may still run in {sandbox}: end it and the sandbox with \
             `flavor sandbox destroy {sandbox}`"
        ),
    )
}

fn no_terminal(error: io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the terminal cannot be set: {error}; the command runs"),
    )
}

fn unknown(error: WaitError) -> Failure {
    match error {
        WaitError::Plugin(error) => error.into(),
        other => Failure::new(Exit::Failed, other),
    }
}
