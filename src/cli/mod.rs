//! The command line: arguments into stage options, one file a subcommand.
