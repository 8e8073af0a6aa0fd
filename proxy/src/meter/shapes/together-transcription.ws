{"type":"session.created","event_id":"evt_1","session":{"id":"s1","object":"realtime.transcription.session","model":"openai/whisper-large-v3"}}
{"type":"conversation.item.input_audio_transcription.delta","item_id":"item_1","delta":"say","start":0.0,"duration":0.4}
{"type":"conversation.item.input_audio_transcription.completed","item_id":"item_1","transcript":"{\"usage\":{\"prompt_tokens\":999999999}}","start":0.0,"duration":0.9,"tokens":[{"token_id":7,"text":"usage","confidence":0.5}]}
